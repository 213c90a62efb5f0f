"""What is checked: somebody else's functions, wherever they live, as one `Source`.

An *adapter* is a module, a file, an object: anything with plain functions named as `refdpm explain` lists them.  Arrays go in and
arrays come out; nothing has to be imported or inherited from here.  Everything is optional:

    def make(beta): ...             builds the object that has the functions, once per schedule; beta (T,), first step first
    beta = ...                      or the adapter has one schedule of its own, an array (T,)
    def posterior(x_0, x_t, t): ... a function asks for what it wants by the names of its parameters; noise and t are always given
    array = torch.as_tensor         what turns NumPy's arrays into yours; without it functions get NumPy's
    dtype = "float32"               the precision it computes in; else that of what it returns
    profile = {"first_t": 0}        conventions it states; the others are inferred (`profile`)
    own_steps = (array, …)          the lists of steps that its chains go through, if they can go through no others: increasing,
                                    counted as t = 1..T, and before them where they end, 0 for x_0
    def vjp(name, args, cotangent): gradients of the function `name` by automatic differentiation, a dict of arrays

What it does not offer is skipped, and NotImplementedError("reason") skips too.
"""

from collections.abc import Callable, Container, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol
import importlib
import importlib.util
import inspect
import io
import sys
import traceback
import warnings

import numpy as np

from refdpm.html import length_in_all
from refdpm.vjp import Array

# what people call the arguments; ε is noise, and what keeps a root away from 0
ALIASES = {"x0": ("x_0",), "x_start": ("x_0",), "xt": ("x_t",), "x": ("x_t",), "betas": ("beta",),
           "eps": ("noise", "epsilon", "floor"), "epsilon": ("noise",), "denoiser": ("network",), "model": ("network",),
           "net": ("network",), "t": ("time", "mask_time"), "t_next": ("time_next",), "eta": ("share",)}

# what a function that does not ask for it has built in, and can be asked for nothing else
DEFAULTS = {"rate": 0.5, "offset": 0.008, "cap": 0.999, "eta": 0.0, "low": -1.0, "high": 1.0, "levels": 256,
            "gamma": 5.0, "epsilon": 1e-5, "p2_k": 1.0, "p2_gamma": 1.0, "share": 1.0, "per_unit": 1.0, "sigma_data": 0.5,
            "rho": 7.0, "s_noise": 1.0, "floor": 0.0}

DTYPES = ("bfloat16", "float16", "float32", "float64")
MOST = 500_000                  # numbers in one array of an answer
_WORDS = 1000                   # characters of what an adapter says that are passed on


class Skip(Exception):
    """The adapter does not offer this; its message is the reason."""


class Fault(Exception):
    """The adapter was called and did not answer with arrays; its message says what it did instead.

    `output` is the first of several outputs that is not as it has to be, where another one is.
    """

    output: str | None = None


class Refusal(Fault):
    """The adapter raised an error of a kind that refuses an input: nothing was found out about it."""


class Unaskable(Refusal):
    """The function asks for arguments that nobody gives it."""


class CalledNoMore(Fault):
    """The function ended its process too often and is not called any more: nothing was found out about this input."""


class Model(NamedTuple):
    """The network that an adapter is given: affine in x_t at every t, so that any framework can call it.

    model(x_t, t) → x_t @ weight[t] + bias[t], for x_t (N, D) or (N, …) flattened and t (N,) counted as the adapter counts it;
    weight (T+1, D, K), bias (T+1, K) with t = 1..T.  `first_t` is the adapter's number of the first step.
    """

    weight: Array
    bias: Array
    first_t: int = 1

    def __call__(self, x_t: Any, t: Any, *_: Any, **__: Any) -> Any:
        """The prediction, in the framework and precision of x_t."""
        x, steps = to_array(x_t), np.broadcast_to(np.asarray(to_array(t), dtype=np.int64).reshape(-1), (len(x_t),))
        at = steps + 1 - self.first_t
        if np.any((at < 0) | (at >= len(self.weight))):
            raise IndexError(f"the network is asked at t = {steps.tolist()[:4]}, expected {self.first_t} to "
                             f"{len(self.weight) - 2 + self.first_t}")
        flat = np.reshape(x, (len(x), -1)).astype(np.float64)
        value = np.einsum("nd,ndk->nk", flat, self.weight[at]) + self.bias[at]
        if value.shape[1] == flat.shape[1]:
            value = value.reshape(x.shape)
        return like(value.astype(x.dtype), x_t)

    def without_head(self) -> "Model":
        """The first D outputs alone: what is left where no head chooses the variance."""
        D = self.weight.shape[1]
        return self._replace(weight=self.weight[..., :D], bias=self.bias[..., :D])


class Network(NamedTuple):
    """The network that an adapter is given where none is learned for every t: network(x_t, level) → what it `says` there.

    It is the exact one for data whose components are normal with mean `centre` and variance `spread`, (D,) each:

        x_0         the data's mean given x_t = x_0 + σ ε; the level is σ
        velocity    of a straight path; the level is t, with data where t is `data_at`
        raw         spread · x_t + centre · level, a network F that is no exact one
        logits      of the classes of x_0, centre + spread[(x_t + t) mod K], for symbols x_t (N, …), the numbers of classes, and
                    t (N,), so that each t has its own; centre (K,), spread (K, K); t is counted from where data are, `data_at`
    """

    says: str
    centre: Array
    spread: Array
    data_at: int = 0

    def __call__(self, x_t: Any, level: Any, *_: Any, **__: Any) -> Any:
        """The prediction, in the framework and precision of x_t; of symbols, which have none, in that of `spread`."""
        x = to_array(x_t)
        at = np.asarray(to_array(level), dtype=np.float64).reshape(-1)
        if self.says == "logits":
            steps = (at - self.data_at).astype(np.int64).reshape((-1,) + (1,) * (x.ndim - 1))
            return like(self.centre + self.spread[(x.astype(np.int64) + steps) % len(self.centre)], x_t)
        at = at.reshape((-1,) + (1,) * (x.ndim - 1)) if at.size > 1 else at
        return like(np.asarray(self._value(x.astype(np.float64), at)).astype(x.dtype), x_t)

    def trace(self, x_t: Any, level: Any, *_: Any, **__: Any) -> Any:
        """Of a network that says x_0, ∂D/∂x_t summed over its diagonal, (N,): in the framework and precision of x_t."""
        x, at = to_array(x_t), np.asarray(to_array(level), dtype=np.float64).reshape(-1, *[1] * (np.ndim(x_t) - 1))
        slope = np.broadcast_to(self.spread / (self.spread + at * at), x.shape)
        return like(slope.sum(axis=tuple(range(1, x.ndim))).astype(x.dtype), x_t)

    def _value(self, x: Array, at: Array) -> Array:
        if self.says == "raw":
            return self.spread * x + self.centre * at
        if self.says == "x_0":
            return (self.spread * x + at * at * self.centre) / (self.spread + at * at)
        t = np.abs(at - self.data_at)
        keep = 1 - t
        v = (t - self.spread * keep) * (x - keep * self.centre) / (keep * keep * self.spread + t * t) - self.centre
        return -v if self.data_at else v


NETWORKS = (Model, Network)


class Observed:
    """A network that remembers at which states and t, or levels, it has been asked."""

    def __init__(self, model: Model | Network) -> None:
        self.model, self.asked = model, []   # type: tuple[Model | Network, list[tuple[Array, Array]]]

    def __call__(self, x_t: Any, t: Any, *more: Any, **named: Any) -> Any:
        """What the model says."""
        self.asked.append((to_array(x_t).copy(), to_array(t).copy()))
        return self.model(x_t, t, *more, **named)

    def __getattr__(self, name: str) -> Any:
        """The network's tables, for whoever reads them himself: what he does with them is not seen."""
        if name == "model":                                            # while a copy is made
            raise AttributeError(name)
        return getattr(self.model, name)


class Source(Protocol):
    """Where the answers come from: this process (`Local`) or another one."""

    name: str
    dtype: str | None
    stated: Mapping[str, Any]
    beta: Array | None
    notes: dict[str, set[str]]             # of each function, what is no verdict but should be known

    def offers(self) -> frozenset[str]:
        """The names of the functions it has; "vjp" among them if it has gradients."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the function returns: an array, or a tuple or dict of arrays.   Raises: Skip, Fault."""

    def close(self) -> None:
        """Nothing is called after this."""


class Local:
    """A module or an object of this process."""

    def __init__(self, target: Any, *, name: str = "", names: frozenset[str] = frozenset()) -> None:
        self.target, self.name = target, name or getattr(target, "__name__", type(target).__name__)
        self.dtype = _dtype_name(getattr(target, "dtype", None))
        self.stated: Mapping[str, Any] = dict(getattr(target, "profile", {}))
        self.notes: dict[str, set[str]] = {}
        self.make: Callable[..., Any] | None = getattr(target, "make", None)
        self.array: Callable[[Array], Any] | None = getattr(target, "array", None)
        self.classes = _class_count(target)
        self.own_steps = own_lists(getattr(target, "own_steps", None))
        own = None if self.make or callable(getattr(target, "beta", None)) else getattr(target, "beta", None)
        self.beta = None if own is None else own_schedule(to_array(own))
        self._names, self._objects = names, {}        # type: tuple[frozenset[str], dict[bytes, Any]]
        if self.make:
            with _quiet(self, "make", {}):
                made = self._object_for(_PROBE)
            self.dtype = self.dtype or _dtype_name(getattr(made, "dtype", None))
            self.classes = self.classes or _class_count(made)
            self.stated = dict(getattr(made, "profile", {})) | dict(self.stated)

    def offers(self) -> frozenset[str]:
        """The names it has, of those that the kit knows."""
        places = [self.target, *([self._object_for(_PROBE)] if self.make else [])]
        return frozenset(name for name in self._names for place in places if _is_offered(place, name))

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Source`."""
        with _quiet(self, name, arguments):
            place = self._object_for(arguments.get("beta", _PROBE)) if self.make else self.target
            function = getattr(place, name, None) or getattr(self.target, name, None)
            if function is None:
                raise Skip(f"{name} is not offered")
            given = self._to_framework(dict(arguments))
            before = _content(given)
            value = (_without_none(function(given["name"], given["args"], given["cotangent"])) if name == "vjp"
                     else function(**_arguments_for(function, given)))
            after = _content(given)
            self._note(name, *(f"changes its input {key}" for key in before if after[key] != before[key]),
                       *(f"returned a {kind}, read as an array" for kind in _foreign_kinds(value) if self.array is None))
            return to_arrays(value)

    @property
    def places(self) -> dict[str, tuple[str, int]]:
        """The file and line of each function that is offered and written in Python."""
        targets = [self.target, *([self._object_for(_PROBE)] if self.make else [])]
        found = {name: _place_of_function(target, name) for target in reversed(targets) for name in self.offers()
                 if _is_offered(target, name)}
        return {name: place for name, place in found.items() if place}

    def close(self) -> None:
        """See `Source`."""

    def _note(self, name: str, *notes: str) -> None:
        if notes:
            self.notes.setdefault(name, set()).update(notes)

    def _object_for(self, beta: Array) -> Any:
        key = beta.tobytes() + beta.dtype.char.encode()
        if key not in self._objects:
            if len(self._objects) > 500:
                self._objects.clear()
            assert self.make is not None
            self._objects[key] = self.make(self._to_framework(beta.copy()))
        return self._objects[key]

    def _to_framework(self, value: Any) -> Any:
        """The arrays among arguments as the adapter wants them."""
        if isinstance(value, np.ndarray):
            return self._as_declared(value if self.array is None else self.array(value))
        if isinstance(value, dict):
            return {name: self._to_framework(part) for name, part in value.items()}
        if isinstance(value, tuple) and not isinstance(value, NETWORKS):
            return tuple(map(self._to_framework, value))
        return value

    def _as_declared(self, array: Any) -> Any:
        """An array in bfloat16, which NumPy has not, where that is declared and the framework has it."""
        package = type(array).__module__.split(".")[0]
        if self.dtype != "bfloat16" or package == "numpy" or "float" not in str(getattr(array, "dtype", "")):
            return array
        return array.to(sys.modules["torch"].bfloat16) if package == "torch" else array.astype("bfloat16")


def _without_none(gradients: Any) -> Any:
    """What a `vjp` returns, with 0 for None, by which frameworks mean that nothing flows back to an argument."""
    if not isinstance(gradients, Mapping):
        return gradients
    return {name: np.zeros(()) if value is None else value for name, value in gradients.items()}


_PROBE = np.array([0.125, 0.25, 0.5])
PRINTS = "prints to standard output, which was kept off the report"


class _quiet:
    """What an adapter prints is kept off the report; what it raises becomes Skip or Fault."""

    def __init__(self, source: Local, name: str, arguments: Mapping[str, Any]) -> None:
        self.source, self.name, self.out, self.caught = source, name, _Nowhere(), warnings.catch_warnings()
        self.refused = REFUSALS + (LookupError,) * _has_one_step(arguments)

    def __enter__(self) -> None:
        self.redirect = redirect_stdout(io.TextIOWrapper(self.out, encoding="utf-8", errors="replace", write_through=True))
        self.redirect.__enter__()
        self.caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.caught.__exit__(kind, error, trace)
        self.redirect.__exit__(kind, error, trace)
        if self.out.size:
            self.source._note(self.name, PRINTS)
        if isinstance(error, NotImplementedError):
            raise Skip(said(error) or "not implemented") from None
        if isinstance(error, Exception) and not isinstance(error, (Skip, Fault)):
            told = f"raises {kind.__name__}: {said(error)}".rstrip(": ") + _hint_for(error)
            raise (Refusal if isinstance(error, self.refused) else Fault)(told + _place_of(trace)) from error
        if isinstance(error, SystemExit):
            raise Fault(f"leaves Python with SystemExit({said(error)})") from error
        if error is not None and not isinstance(error, (Exception, KeyboardInterrupt)):
            raise Fault(f"raises {kind.__name__}, which is no Exception: {said(error)}".rstrip(": ")) from error


def _hint_for(error: Exception) -> str:
    """What somebody forgets whose program works with arrays of another kind."""
    is_of_array = isinstance(error, (AttributeError, TypeError)) and "ndarray" in said(error)
    return "; arrays are given as array = … of the adapter makes them, for PyTorch array = torch.as_tensor" * is_of_array


def said(words: object) -> str:
    """What an exception, or whatever an adapter says, reads: its first line, or the beginning of that."""
    try:
        lines = str(words).splitlines() or [""]
        cut = f"{lines[0][:_WORDS - 50]}… ({length_in_all(lines[0])} characters in all)"
        return lines[0] if len(lines[0]) <= _WORDS else cut
    except Exception:
        return "(it cannot be printed)"


def own_schedule(beta: Array) -> Array:
    """An adapter's own β_1..β_T with β_0 = 0 in front.   Raises: ValueError for what is no schedule."""
    if beta.ndim != 1 or beta.dtype.kind not in "fiu" or not beta.size:
        raise ValueError(f"adapter: beta: expected a list of numbers, got shape {beta.shape} and {beta.dtype}")
    wrong = np.flatnonzero(~((beta > 0) & (beta <= 1)))
    if wrong.size:
        raise ValueError(f"adapter: beta: expected values in (0, 1] for t = 1..T, got {beta[wrong[0]]} at t = {wrong[0] + 1}")
    return np.concatenate([[0.0], beta.astype(np.float64)])


def own_lists(found: Any) -> tuple[Array, ...] | None:
    """An adapter's own lists of steps.   Raises: ValueError for what is none."""
    if found is None:
        return None
    lists = tuple(map(to_array, found)) if isinstance(found, (tuple, list)) else ()
    if not lists or any(steps.ndim != 1 or steps.dtype.kind not in "iu" or not len(steps) or steps[0] < 0
                        or np.any(np.diff(steps) < 1) for steps in lists):
        raise ValueError(f"adapter: own_steps: expected a tuple of lists of increasing steps, got {said(repr(found))[:60]}")
    return lists


def _is_offered(place: Any, name: str) -> bool:
    """Whether there is such a function; a property that raises is one, and says so when it is called."""
    try:
        return callable(getattr(place, name, None))
    except Exception:
        return True


def _place_of_function(target: Any, name: str) -> tuple[str, int] | None:
    """Where a function is written, if in Python and not in this package; nothing that it raises is of interest."""
    with suppress(Exception):
        code = getattr(inspect.unwrap(getattr(target, name)), "__code__", None)
        if code is not None and not code.co_filename.startswith((OURS, "<")):
            return code.co_filename, code.co_firstlineno
    return None


# what programs raise to say that they do not take an input; other errors happen to them
REFUSALS: tuple[type[Exception], ...] = (ValueError, TypeError, AssertionError, RuntimeError)
OURS = str(Path(__file__).parents[1])


def _has_one_step(arguments: Mapping[str, Any]) -> bool:
    """Whether a schedule has one step alone: tables that need the variance of the second have no such entry."""
    return arguments.get("T") == 1 or np.shape(arguments.get("beta", 0)) == (1,)


def _place_of(trace: TracebackType | None) -> str:
    """The last line of the adapter's own that an error came through."""
    frames = [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith((OURS, sys.prefix, "<"))]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


class _Nowhere(io.BytesIO):
    """Where what is printed ends; `size` is how much there was."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def our_name(name: str, arguments: Container[str]) -> str:
    """What an argument that somebody calls so is called among these; the name itself if it is none of them."""
    return next((one for one in (name, *ALIASES.get(name, ())) if one in arguments), name)


def _arguments_for(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a function asks for, by the names of its parameters."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return dict(arguments)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(arguments)
    found, asked = {}, set()
    for p in parameters:
        name = our_name(p.name, arguments)
        if name in arguments:
            found[p.name] = arguments[name]
            asked.add(name)
        elif p.default is p.empty and p.kind is not p.VAR_POSITIONAL:
            if p.name == "self":
                raise Unaskable("asks for 'self': it is a method of a class; write make = THE_CLASS, or name an object of it")
            raise Unaskable(f"asks for {p.name!r}; expected parameters among {', '.join(arguments)}")
    for name, default in DEFAULTS.items():
        if name not in asked and arguments.get(name, default) != default:
            raise Skip(f"does not ask for {name}, so that it is taken for {default}")
    return found


# -- arrays of any framework -------------------------------------------------------------------------------------------

def to_array(value: Any) -> Array:
    """A NumPy array from an array of any framework.   Raises: Fault if it is none."""
    for method in ("detach", "cpu", "resolve_conj"):
        if hasattr(value, method) and not isinstance(value, np.ndarray):
            value = getattr(value, method)()
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise Fault("returns a masked array, with entries that are no numbers")
    try:
        array = np.asarray(_widened(value))
    except Exception as error:
        raise Fault(f"returns {type(value).__name__}, which is no array: {said(error)}") from None
    if array.dtype == object:
        raise Fault(f"returns {type(value).__name__}, expected an array of numbers")
    if array.size > MOST:
        raise Fault(f"returns an array of shape {array.shape}, too large to be judged")
    return array


def _widened(value: Any) -> Any:
    """bfloat16 as float32, which holds the same numbers; anything else as it is."""
    if not str(getattr(value, "dtype", "")).endswith("bfloat16"):
        return value
    return value.float() if hasattr(value, "float") else value.astype(np.float32)


def like(array: Array, model: Any) -> Any:
    """`array` in the framework of `model`, which is already imported by whoever made it; real numbers in its precision
    too, if it has one."""
    framework = type(model).__module__.split(".")[0]
    if framework == "torch":
        tensor = sys.modules["torch"].as_tensor(array.copy())
        return tensor.to(model.dtype) if tensor.is_floating_point() and model.is_floating_point() else tensor
    if framework in ("jax", "jaxlib"):
        return sys.modules["jax"].numpy.asarray(array)
    return array


def to_arrays(value: Any) -> Any:
    """The same for what a function returns: a dict or a tuple of them, or one."""
    if isinstance(value, Mapping):
        return {str(key): to_array(item) for key, item in value.items()}
    several = isinstance(value, list) and any(np.ndim(item) and not isinstance(item, list) for item in value)
    if several or isinstance(value, tuple):
        return tuple(to_array(item) for item in value if item is not None)
    return to_array(value)


def _content(value: Any) -> Any:
    """What an argument holds, to be compared after the call."""
    if isinstance(value, (tuple, list)):
        return [_content(part) for part in value]
    if hasattr(value, "__array__"):
        array = to_array(value)
        return array.shape, array.tobytes()
    return {key: _content(part) for key, part in value.items()} if isinstance(value, dict) else None


def _foreign_kinds(value: Any) -> set[str]:
    """The kinds of array in what a function returned that are not NumPy's or Python's own."""
    if isinstance(value, (tuple, list, Mapping)):
        return {kind for part in (value.values() if isinstance(value, Mapping) else value) for kind in _foreign_kinds(part)}
    package = type(value).__module__.split(".")[0]
    return set() if package in ("numpy", "builtins") else {f"{package}.{type(value).__name__}"}


def _class_count(target: Any) -> int | None:
    found = getattr(target, "classes", None)
    return found if isinstance(found, int) and found > 1 else None


def _dtype_name(value: Any) -> str | None:
    name = None if value is None else str(value).split(".")[-1].rstrip("'>")
    if name not in (None, *DTYPES):
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {value!r}")
    return name


# -- finding an adapter ------------------------------------------------------------------------------------------------

def load(text: str) -> Any:
    """The module or object of "module", "path/to/file.py" or either with ":object".

    Raises: ValueError if it cannot be imported, and says why.
    """
    place, _, name = text.rpartition(":") if ":" in text[2:] else (text, "", "")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValueError(f"adapter: expected a module or a file that can be imported, got {place!r}: "
                         f"{type(error).__name__}: {said(error)}") from error
    try:
        found = module
        for part in filter(None, name.split(".")):
            found = getattr(found, part)
        return found
    except AttributeError as error:
        raise ValueError(f"adapter: expected an object of {place!r} named {name!r}: {error}") from error


_loaded: set[str] = set()             # the names of modules that were files


def _from_file(path: Path) -> Any:
    name = path.stem
    if name in sys.modules and name not in _loaded:                         # numpy.py, refdpm.py
        name = f"adapter_{name}"
    _loaded.add(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
