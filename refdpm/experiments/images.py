"""Images: dead leaves, bark, MNIST, CIFAR-10, one experiment with four kinds of data.

Dead leaves are generated, every training step's anew.  The others are read from files, which a run knows by a digest; from them it
keeps the constants that centre and scale, so that a run can be sampled and evaluated where the files are not.

    dead-leaves   `data.dead_leaves`; no path
    bark          a folder of pictures or a `.npy` file, in grey; windows of height × width, some pictures (or part of one) held out
    mnist         a folder with the official files, train-images-idx3-ubyte and t10k-images-idx3-ubyte (gzip or not)
    cifar10       a folder with the files of the official binary version, or its archive

The measure to beat is the normal law with the full covariance of the training images (`oracles.wiener`), on the same images.
"""

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refdpm import gaussian, likelihood, run, schedule, train
from refdpm.data import cifar, dead_leaves, idx, images as pictures
from refdpm.data.prepare import Constants, checked_images, constants_of, prepare
from refdpm.experiments import common
from refdpm.layers.temporal import BASES
from refdpm.networks import image as network_module
from refdpm.networks.readout import READOUTS
from refdpm.oracles import wiener
from refdpm.single import DTYPES
from refdpm.train import Draw, Purpose
from refdpm.vjp import Array, fix

KINDS = ("dead-leaves", "bark", "mnist", "cifar10")
PAPER = {
    "dead-leaves": {"K": 1.489, "K_minus_L_null": 3.536,
                    "not_comparable": "other images (Theis et al. 2012), and β_1 is not given"},
    "bark": {"K": -0.55, "K_minus_L_null": 1.5, "not_comparable": "β_1 and the size of the windows are not given"},
    "mnist": {"parzen_bits": 317, "not_comparable": "a Parzen window measures samples, and knows nothing of K"},
    "cifar10": {"K": 5.4, "K_minus_L_null": 11.5, "not_comparable": "β_1 is not given"},
}
LARGEST = 1024                # components of an image whose covariance is still computed
WIDEST = 1 << 24              # numbers that a layer makes of one image


class Settings(NamedTuple):
    """What a run is a function of.  Sizes, constants and digest come from the data; `conv`, `dense`, `pixelwise` are widths."""

    kind: str
    data: str = ""
    digest: str = ""
    height: int = 16
    width: int = 16
    channels: int = 1
    mean: float = 0.0
    scale: float = 1.0
    level: float = 1.0
    low: float = 0.0
    high: float = 255.0
    T: int = 1000
    beta_1: float = 1e-3
    beta_T: float = 0.01
    form: str = "paper"
    basis: str = "released"
    readout: str = "released"
    conv: tuple[int, ...] = (24, 24, 24)
    scales: int = 3
    kernel: int = 3
    dense: tuple[int, ...] = ()
    dense_features: int = 2
    pixelwise: tuple[int, ...] = (24,)
    bumps: int = 10
    steps: int = 1500
    batch: int = 32
    rate: float = 2e-3
    decay_2: float = 0.999
    rows: int = 8
    seed: int = 0
    dtype: str = "float64"

    @property
    def constants(self) -> Constants:
        """What centres and scales the images."""
        return Constants(self.mean, self.scale, self.level)


def checked(settings: Settings) -> Settings:
    """The settings if they make sense.   Raises: ValueError that names the first that does not."""
    common.check_choice(settings, kind=KINDS, form=network_module.FORMS, basis=BASES, readout=READOUTS,
                        dtype=DTYPES)
    common.check_integers(settings, height=1, width=1, channels=1, T=2, scales=1, kernel=1, dense_features=1, bumps=2, steps=1,
                          batch=1, rows=1, seed=0)
    common.check_numbers(settings, beta_1=(0, 1), beta_T=(0, 1), rate=(0, np.inf), decay_2=(0, 1), scale=(0, np.inf),
                         mean=(-np.inf, np.inf), low=(-np.inf, settings.high), high=(settings.low, np.inf))
    if settings.level not in (0, 1):
        raise ValueError(f"level: expected 1 for whole numbers or 0 for others, got {settings.level!r}")
    for name in ("conv", "dense", "pixelwise"):
        widths = getattr(settings, name)
        if len(widths) > 64 or not all(isinstance(width, int) and 1 <= width <= 4096 for width in widths):
            raise ValueError(f"{name}: expected at most 64 widths from 1 to 4096, got {widths}")
    for name, most in (("height", 1024), ("width", 1024), ("channels", 64), ("T", 100_000), ("bumps", 1000), ("kernel", 63),
                       ("scales", 10)):
        if getattr(settings, name) > most:
            raise ValueError(f"{name}: expected at most {most}, got {getattr(settings, name)}")
    widest = max(settings.channels * 2 * settings.bumps, settings.dense_features, *settings.conv, *settings.pixelwise)
    if settings.height * settings.width * widest > WIDEST:
        raise ValueError(f"height, width: expected at most {WIDEST} numbers in a layer of {widest} a pixel, "
                         f"got {settings.height} × {settings.width} pixels")
    return settings


# -- data ----------------------------------------------------------------------------------------------------------------

class Source(NamedTuple):
    """Images as they are stored: how to draw some, (rng, n) → (n, H, W, C), and all that the constants are taken from."""

    training: Draw
    held_out: Draw
    values: Array
    digest: str


def resolved(settings: Settings) -> Settings:
    """The settings with sizes, constants and digest from the data.   Raises: ValueError that names what is wrong with them."""
    checked(settings)
    if settings.kind == "dead-leaves":                          # levels uniform on 0..255, dequantised: the variance is 256²/12
        return settings._replace(mean=127.5, scale=float(np.sqrt(12) / 256), level=1.0, channels=1)
    if not settings.data:
        raise ValueError(f"--data: expected a path to the images of {settings.kind}, got none")
    source = _source(settings.kind, settings.data, settings.height, settings.width)
    _, height, width, channels = source.training(np.random.default_rng(0), 1).shape
    whole, one_byte = source.values.dtype.kind in "iu", source.values.dtype == np.uint8
    mean, scale, level = constants_of(source.values, level=float(whole))
    low, high = (0.0, 255.0) if one_byte else (float(source.values.min()), float(source.values.max()))
    return checked(settings._replace(data=str(Path(settings.data).resolve()), digest=source.digest, height=height, width=width,
                                     channels=channels, mean=mean, scale=scale, level=level, low=low, high=high))


def moved(settings: Settings, data: str) -> Settings:
    """The settings of a run whose data have another path now.   Raises: ValueError if they are not the same data."""
    found = settings._replace(data=str(Path(data).resolve()))
    _images_of_run(found, np.random.default_rng(0), 1, held_out=False)
    return found


@lru_cache(maxsize=2)
def _source(kind: str, data: str, height: int, width: int) -> Source:
    path = Path(data)
    if not path.exists():
        raise ValueError(f"--data: expected the images of {kind} at {path}, got nothing there")
    if kind == "bark":
        return _windows(*pictures.split(pictures.read(path, grey=True)), height, width)
    training, held_out = _mnist(path) if kind == "mnist" else cifar.training_and_test(path)
    if len(held_out) < 2:
        raise ValueError(f"{path}: expected at least two held-out images, got {len(held_out)}")
    return Source(lambda rng, n: training[rng.integers(len(training), size=n)],
                  lambda rng, n: held_out[rng.permutation(len(held_out))[:n]], training, _digest(training, held_out))


def _windows(training: list[Array], held_out: list[Array], height: int, width: int) -> Source:
    """Windows of larger pictures."""
    def draw(some: list[Array]) -> Draw:
        return lambda rng, n: pictures.crops(rng, some, n, height=height, width=width)

    for name, some in (("training", training), ("held-out", held_out)):
        if not all(image.shape[0] >= height and image.shape[1] >= width for image in some):
            raise ValueError(f"--data: expected {name} pictures of at least {height} × {width}, got "
                             f"{min(image.shape[:2] for image in some)}")
    return Source(draw(training), draw(held_out), np.concatenate([np.ravel(x) for x in training]), _digest(*training, *held_out))


def _mnist(path: Path) -> tuple[Array, Array]:
    if not path.is_dir():
        raise ValueError(f"{path}: expected a folder with train-images-idx3-ubyte and t10k-images-idx3-ubyte, got a file")
    found = []
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        files = [file for file in (path / name, path / f"{name}.gz") if file.is_file()]
        if len(files) != 1:
            raise ValueError(f"{path}: expected {name} or {name}.gz, got {'both' if files else 'neither'}")
        found.append(idx.read(files[0]))
    training, held_out = found
    if training.shape[1:] != held_out.shape[1:]:
        raise ValueError(f"{path}: expected held-out images of {training.shape[1:]}, got {held_out.shape[1:]}")
    return training, held_out


def _digest(*images: Array) -> str:
    found = sha256()
    for image in images:
        found.update(str((image.shape, image.dtype.str)).encode())
        found.update(np.ascontiguousarray(image).data.cast("B"))
    return found.hexdigest()


def _images_of_run(settings: Settings, rng: np.random.Generator, n: int, *, held_out: bool) -> Array:
    """Images as they are stored, of a run whose data must not have changed."""
    if settings.kind == "dead-leaves":
        return dead_leaves.draw(rng, n, height=settings.height, width=settings.width)
    source = _source(settings.kind, settings.data, settings.height, settings.width)
    if source.digest != settings.digest:
        raise ValueError(f"{settings.data}: expected the data that the run began with (sha256 {settings.digest[:12]}…), "
                         f"got others ({source.digest[:12]}…)")
    return (source.held_out if held_out else source.training)(rng, n)


def _draw(settings: Settings, *, held_out: bool) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Array:
        values = _images_of_run(settings, rng, n, held_out=held_out)
        return prepare(values, settings.constants, noise=rng.random(values.shape))
    return draw


def read(settings: Settings, path: Path) -> Array:
    """Images of one's own from a `.npy` file, as the model sees them: whole numbers are dequantised.   Raises: ValueError."""
    values = _values(settings, path)
    noise = train.generator(settings.seed, Purpose.DEQUANTISATION).random(values.shape) if values.dtype.kind in "iu" else 0.5
    return checked_images(prepare(values, settings.constants, noise=np.asarray(noise)), name=str(path))


def _values(settings: Settings, path: Path) -> Array:
    values = run.load_points(path)
    shape = (settings.height, settings.width, settings.channels)
    values = values[..., None] if settings.channels == 1 and values.shape[1:] == shape[:2] else values
    if values.ndim != 4 or values.shape[1:] != shape:
        raise ValueError(f"{path}: expected images of shape (N, {', '.join(map(str, shape))}), got {values.shape}")
    return values


# -- the model -----------------------------------------------------------------------------------------------------------

def problem(settings: Settings) -> common.Problem:
    """The Gaussian kernel with a geometric schedule, the image network, and one t for each image of a batch."""
    recipe = train.Recipe(steps=settings.steps, batch=settings.batch, draws=1, rate=settings.rate, schedule_rate=0.0,
                          beta_1=settings.beta_1, decay_2=settings.decay_2, rows=settings.rows, seed=settings.seed)
    network = common.in_precision(fix(network_module, T=settings.T, form=settings.form, basis=settings.basis,
                                      readout=settings.readout), settings.dtype)
    return common.Problem(kernel=gaussian, network=network, recipe=recipe,
                          beta=schedule.geometric(settings.T, beta_1=settings.beta_1, beta_T=settings.beta_T),
                          shape=(settings.height, settings.width, settings.channels), draw_data=_draw(settings, held_out=False),
                          draw_held_out=_draw(settings, held_out=True), unit="pixel", size=settings.height * settings.width,
                          held_out=_in_proportion(50, settings), glance=4, shift=settings.mean, scale=settings.scale,
                          low=settings.low, high=settings.high)


def _in_proportion(full: int, settings: Settings) -> int:
    return common.in_proportion(full, settings, EXPERIMENTS[settings.kind].DEFAULT)


def begin(settings: Settings) -> train.State:
    """The state before the first step: p is the forward kernel."""
    rng = train.generator(settings.seed, Purpose.START)
    parameters = network_module.init(
        rng, shape=(settings.height, settings.width, settings.channels), conv=settings.conv, scales=settings.scales,
        kernel=(settings.kernel, settings.kernel), dense=settings.dense, dense_features=settings.dense_features,
        pixelwise=settings.pixelwise, count=settings.bumps, form=settings.form)
    return train.begin(train.Model(common.of_type(parameters, settings.dtype), np.empty(0)))


def template(settings: Settings) -> train.State:
    """The structure and shapes of a state, with zeros that take no memory."""
    parameters = network_module.template(
        shape=(settings.height, settings.width, settings.channels), conv=settings.conv, scales=settings.scales,
        kernel=(settings.kernel, settings.kernel), dense=settings.dense, dense_features=settings.dense_features,
        pixelwise=settings.pixelwise, count=settings.bumps, form=settings.form)
    return common.template_of(train.Model(common.of_type(parameters, settings.dtype), np.empty(0)))


# -- reports, in bits ----------------------------------------------------------------------------------------------------

def normal_law(settings: Settings, *, drawn: int = 50_000) -> wiener.Law | None:
    """Mean and covariance of the training images, dequantised, or of so many where they are drawn.

    None where the components are more than `LARGEST`, or so many that fitting them costs .02 bits per pixel and more (wiener.fit).
    """
    rng, D = train.generator(settings.seed, Purpose.COMPARISON), settings.height * settings.width * settings.channels
    if settings.kind == "dead-leaves":
        values = _images_of_run(settings, rng, max(drawn, 20 * D), held_out=False)
    else:
        source = _source(settings.kind, settings.data, settings.height, settings.width)
        values = source.values if settings.kind != "bark" else source.training(rng, min(drawn, source.values.size // D))
    if D > LARGEST or len(values) < 20 * D:
        return None
    return wiener.fit(prepare(values, settings.constants, noise=rng.random(values.shape)))


def report(posed: common.Problem, settings: Settings, state: train.State) -> dict[str, Any]:
    """How much of x_0 is left in x_T, and the normal law on the held-out images that K is reported on."""
    law = normal_law(settings, drawn=_in_proportion(50_000, settings))
    left = float(schedule.alpha_bar(common.beta_of(posed, state))[-1])
    found: dict[str, Any] = {"paper": PAPER[settings.kind], "alpha_bar_T": left}
    if law is None:
        return found
    x_0 = common.held_out(posed, posed.held_out)
    normal = likelihood.in_bits(likelihood.average(wiener.log_likelihood_per_pixel(x_0, law)))
    return found | {"normal": normal.value, "normal_stderr": normal.stderr}


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    settings, paper = report["settings"], report["paper"]
    size = f"{settings['height']} × {settings['width']} × {settings['channels']}"
    normal = ("" if "normal" not in report else
              f"  normal law    {report['normal']:9.4f} ± {report['normal_stderr']:.4f}   log-likelihood, full covariance of the "
              f"training images\n")
    left = report["alpha_bar_T"]
    forgotten = "" if left < 0.1 else (f"\nᾱ_T = {left:.3f}: much of x_0 is left in x_T, and samples start from too little; "
                                       "raise --beta-T or --T")
    figures = ", ".join(f"{name} = {value}" for name, value in paper.items() if name != "not_comparable")
    return f"""{settings['kind']}, {size}, T = {settings['T']}, β_1 = {settings['beta_1']:g}, seed {report['seed']}{forgotten}

{common.bound_text(report, 'held-out images')}
{normal}  paper: {figures}; not comparable: {paper['not_comparable']}"""


# -- the four ------------------------------------------------------------------------------------------------------------

_TRAINING = {"seed": ("--seed", "default 0"), "steps": ("--steps", "steps of the optimiser"),
             "batch": ("--batch", "images a step"), "rate": ("--rate", "of Adam"), "T": ("--T", "steps of the chain"),
             "beta_1": ("--beta-1", "the first rate, default 1e-3"), "beta_T": ("--beta-T", "the last rate, for T = 1000 0.01"),
             "form": ("--form", "paper or released (the authors' code)"), "basis": ("--basis", "bumps in t: paper or released"),
             "readout": ("--readout", "released (the authors' code), eq65 (the paper's) or denoising"),
             "conv": ("--conv", "widths of the convolutions, 24,24,24"), "scales": ("--scales", "of a convolution"),
             "dense": ("--dense", "widths of the dense path"), "pixelwise": ("--pixelwise", "widths of the 1x1 layers"),
             "bumps": ("--bumps", "in t"), "dtype": ("--dtype", "float64, or float32 for a network in single precision")}
_SIZE = {"height": ("--height", "of an image, in pixels"), "width": ("--width", "of an image, in pixels")}
_DATA = {"data": ("--data", "where the images are")}


def _experiment(says: str, default: Settings, full: dict[str, Any], flags: dict[str, tuple[str, str]]) -> SimpleNamespace:
    return SimpleNamespace(__doc__=says, Settings=Settings, DEFAULT=default, FULL=default._replace(**full),
                           FLAGS=_TRAINING | flags, checked=checked, resolved=resolved, problem=problem, begin=begin,
                           template=template, read=read, report=report, text=text, moved=moved)


EXPERIMENTS = {
    "dead-leaves": _experiment("Dead leaves: occluding discs, generated.", Settings("dead-leaves", rows=16), {"steps": 16000},
                               _SIZE),
    "bark": _experiment("Bark: windows of pictures.", Settings("bark", rows=16), {"steps": 20000}, _SIZE | _DATA),
    "mnist": _experiment("MNIST: digits, from the official files.",
                         Settings("mnist", conv=(), dense=(500, 500), dense_features=8), {"steps": 50000}, _DATA),
    "cifar10": _experiment("CIFAR-10: small photographs, from the official binary files.",
                           Settings("cifar10", conv=(48, 48, 48), dense=(500,), pixelwise=(48,)),
                           {"steps": 50000}, _DATA),
}
