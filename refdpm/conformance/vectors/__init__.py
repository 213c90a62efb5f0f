"""Test vectors: inputs and answers as JSON, for implementations that no adapter reaches.

One file for each group of clauses.  What goes in is exactly representable in float32, what comes out is the shortest text that
reads back as the same float64, and beside each entry stands Σ|terms|, so that every precision has its own fair tolerance:

    |error| ≤ 16 u Σ|terms|,   u = 2⁻⁵³ in double precision, 2⁻²⁴ in single

One test of every function that has gradients holds them too: a cotangent for each output, and the gradient of Σ cotangent · output
with respect to each argument.

Each output carries as flags the known mistakes that change it by more than that in single precision.  A mistake explains what
fails if it is a flag of every output that fails and of none that passes.

Source: the idea of flags is Wycheproof's (C2SP/wycheproof).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
import hashlib

import numpy as np

import refdpm
from refdpm import run
from refdpm.data.files import json_of, reading
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.chapters.inputs import Inputs
from refdpm.conformance.chapters.quantity import Quantity
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.profile import Profile
from refdpm.conformance.subject import LIMIT, UNITS, values_and_scales, ratios
from refdpm.conformance.vectors.cases import case_text, cases_of, gradients_of
from refdpm.conformance.vectors.schema import SCHEMA, problems
from refdpm.conformance.vectors.text import array_of, inputs_of, json_text
from refdpm.vjp import Array

FORMAT = "refdpm vectors 1"

SAYS = {
    "SCH": "schedules", "GAU": "the Gaussian chain", "BIN": "the chain on bits", "CAT": "the chain on classes",
    "PAR": "what a network may predict", "REV": "the reverse step that a network's output means", "SMP": "samplers, step by step",
    "SIG": "levels told by σ, and what is around a denoiser", "SLV": "solvers, step by step and as chains",
    "PTH": "straight paths", "GUI": "guidance, and inpainting that goes back",
    "DEC": "the discretised decoder", "OBJ": "the bound of a Gaussian model, term by term",
    "BND": "K of the paper and its strict form", "BIT": "K on bits", "UNIT": "units", "LIK": "likelihoods without a bound",
    "NET": "the objective on a whole network", "LOSS": "the loss of training", "LAY": "layers",
    "CON": "products, denoising and inpainting"}
ARRAYS = {
    "array": "nested lists, a row of the batch first; an axis of length 1 stands for entries that are all the same",
    "number": "decimal text of a float64; Infinity, -Infinity and NaN are written as strings; inputs are float32 numbers",
    "tolerance": f"the sum of the absolute values of what the textbook's formula adds up: |error| ≤ {LIMIT:g} u tolerance, "
                 "with u = 2^-53 in double precision, 2^-24 in single",
    "flags": "for each output the known mistakes that change it by more than that in single precision: a mistake explains what "
             "fails if it is a flag of every output that is off by so much, and of none that is right",
    "gradients": "values: those of the sum of cotangent times output, by argument, with the cotangent held fixed; 'output' stands "
                 "for what the network answers at each row"}
_STEP = "the number of a step, from 1 to T, for each row"
INPUTS: dict[str, str] = {
    "t": _STEP, "t_prev": f"{_STEP}; 0 is the data", "times": "numbers of steps, from 1 to T, increasing",
    "beta": "the schedule β_1..β_T, first step first: T numbers",
    "model": "a network: model(x_t, t) = x_t @ weight[t] + bias[t] for every row, flattened; weight and bias begin with t = 0; of "
             "twice as many columns the second half is a head for the variance, used if that is ranged",
    "image": "axes are row of the batch, height, width, channel",
    "kernel": "of a convolution: axes are height, width, channel in, channel out; of symbols: what one becomes when it changes, "
              "any class (uniform) or the last (absorbing)",
    "network": "network(x, level) for level σ or t, data m = centre and s² = spread: says x_0 is (s² x + σ² m)/(s² + σ²); says "
               "velocity is (t − s² (1 − t)) (x − (1 − t) m)/((1 − t)² s² + t²) − m; says raw is s² x + m level",
    "sigma": "σ of x_t = x_0 + σ ε: one for each row, or one number for all; so are sigma_next and sigma_before",
    "sigmas": "levels of a chain, decreasing; x_t is the state at the first", "share": "η of an ancestral step",
    "time": "t of x_t = (1 − t) x_0 + t ε: one for each row, or one number for all; so is time_next",
    "predicts": "what the network's output means", "variance": "of the reverse step: small is β̃_t, large β_t, ranged between them",
    "posterior_first": "the posterior's variance at t = 1: 0 (zero), or that at t = 2 (next)",
    "first": "the reverse step from t = 1: its variance is that at t = 2 (next), 1e-20 (floor) or β_1 (beta), or it is the "
             "forward kernel (fixed)"}
INPUTS |= dict.fromkeys(("var", "var_q", "var_p", "var_r"), "a variance, neither a deviation nor a logarithm")
OUTPUTS = {
    "variance": "a variance, neither a deviation nor a logarithm", "probability": "a probability, not a logit",
    "law": "probabilities of the classes, not logarithms", "information": "in nats",
    "total": "in nats, summed over the components of a row",
    "table": "one entry for each of t = 1..T, first step first", "rates": "one entry for each step, the first one first",
    "table_of_totals": "in nats, summed over the components of a row; one row for each of t = 1..T, first step first",
    "matrix": "a row holds where one state goes to", "image": "axes are row of the batch, height, width, channel",
    "velocity": "ε − x_0, and not x_0 − ε", "time": "of x_t = (1 − t) x_0 + t ε, with data at 0",
    "times": "numbers of steps, from 1 to T", "loss": "the mean over the rows of the batch and their components"}


def _group_of(quantity: Quantity) -> str:
    return quantity.id.split(".")[0]


GROUPS = tuple(dict.fromkeys(map(_group_of, QUANTITIES)))


# -- export --------------------------------------------------------------------------------------------------------------

def export(folder: Path | str, *, show: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Write the manifest, the schema and all vectors to `folder`, which is made if only it is missing; returns the manifest.

    Files of an earlier export are replaced, others are not.  `show` is told meanwhile which function it is at.

    Raises: ValueError if `folder` is no folder, or has files of those names that are no vectors; OSError if it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder: expected a folder, got the file {folder}")
    known = {"manifest.json", *_manifest_in(folder)["files"]} if (folder / "manifest.json").exists() else set()
    for name in ("manifest.json", "schema.json", *(f"{group}.json" for group in GROUPS)):
        if name not in known and (folder / name).exists():
            raise ValueError(f"{folder / name}: expected no file there but of an earlier export, got one; it was left unchanged")
    run.try_folder(folder if folder.exists() else folder.absolute().parent, folder, flag="folder")
    found = {group: document(group, show=show) for group in GROUPS}
    contents = {f"{group}.json": json_text(one).encode() for group, one in found.items()}
    contents["schema.json"] = json_text(SCHEMA).encode()
    manifest = _manifest(found, contents)
    contents = {"manifest.json": json_text(manifest).encode()} | contents
    run.write_together(folder, contents)
    return manifest


def document(group: str, *, show: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The content of a group's file."""
    entries = []
    for quantity in QUANTITIES:
        if _group_of(quantity) == group:
            show(f"{group}.json: {quantity.name}")
            entries.append(entry(quantity))
    flags = {flag for one in entries for test in one["tests"] for found in test["flags"].values() for flag in found}
    return {"group": group, "says": SAYS.get(group, group), "schema": "schema.json", "conventions": _conventions(entries),
            "functions": entries, "flags": {mistake.id: mistake.says for mistake in MISTAKES if mistake.id in flags}}


def _conventions(entries: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Those that bear on a file."""
    names = {name for one in entries for test in one["tests"] for name in test["inputs"]}
    kinds = {output["kind"] for one in entries for output in one["outputs"]}
    return {"arrays": ARRAYS, "inputs": {name: says for name, says in INPUTS.items() if name in names},
            "outputs": {kind: says for kind, says in OUTPUTS.items() if kind in kinds}}


def entry(quantity: Quantity) -> dict[str, Any]:
    """What the file has of one function."""
    return {"name": quantity.name, "id": quantity.id, "says": quantity.says, "equations": list(quantity.equations),
            "outputs": [{"id": output.id.lower(), "kind": output.kind} for output in quantity.outputs],
            "tests": [{"id": at} | case_text(quantity, case) for at, case in enumerate(cases_of(quantity), 1)]}


def _manifest(found: dict[str, dict[str, Any]], contents: dict[str, bytes]) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {
        name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in sorted(contents.items())}
    for group, one in found.items():
        files[f"{group}.json"] |= {"functions": len(one["functions"]), "tests": _test_count(one)}
    return {"format": FORMAT, "package": refdpm.__version__, "functions": len(QUANTITIES),
            "tests": sum(map(_test_count, found.values())), "flags": len({flag for one in found.values() for flag in one["flags"]}),
            "files": files}


def _test_count(one: dict[str, Any]) -> int:
    return sum(len(entry["tests"]) for entry in one["functions"])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- verify --------------------------------------------------------------------------------------------------------------

def verify(folder: Path | str) -> list[str]:
    """What is wrong with the vectors in `folder`, a line for each file, function or test; empty if they are as they were written
    and the reference gives every value, to the tolerance that they set: on another machine a logarithm may round otherwise.

    Raises: ValueError if `folder` holds no manifest.
    """
    folder = Path(folder)
    files = _manifest_in(folder)["files"]
    present = {path.name for path in folder.glob("*.json")} - {"manifest.json"}
    found = [f"{name}: expected a file that manifest.json lists, got another" for name in sorted(present - files.keys())]
    seen: list[str] = []
    for name, entry in files.items():
        try:
            with reading(folder / name, "vectors"):
                found += [f"{name}: {problem}" for problem in _file_problems(folder / name, entry, seen)]
        except (ValueError, OSError) as error:
            found.append(str(error).removeprefix(f"{folder}/"))
    return found + [f"{quantity.id}: expected vectors, got none" for quantity in QUANTITIES if quantity.id not in seen]


def _manifest_in(folder: Path) -> dict[str, Any]:
    """Raises: ValueError if there is none."""
    path = folder / "manifest.json"
    with reading(path, "a manifest"):
        manifest: dict[str, Any] = _json(path)
        for problem in problems(manifest, SCHEMA["$defs"]["manifest"]):
            raise ValueError(f"{path}: {problem}")
        if manifest["format"] != FORMAT:
            raise ValueError(f"{path}: format: expected {FORMAT!r}, got {manifest['format'][:60]!r}")
        for name in manifest["files"]:
            if Path(name).name != name:
                raise ValueError(f"{path}: files: expected names of files in this folder, got {name[:60]!r}")
    return manifest


def _json(path: Path) -> Any:
    try:
        return json_of(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a file, got none") from None


def _file_problems(path: Path, entry: dict[str, Any], seen: list[str]) -> Iterator[str]:
    if not path.is_file():
        yield "expected a file, got none"
        return
    content = _json(path)
    if (sha256 := _sha256(path.read_bytes())) != entry["sha256"]:
        yield f"expected sha256 {entry['sha256'][:12]}…, got {sha256[:12]}…"
    if path.name == "schema.json":
        yield from () if content == SCHEMA else ("expected the schema of this version, got another",)
        return
    if wrong := list(problems(content, SCHEMA)):
        yield from wrong[:10]
        return
    functions = {quantity.id: quantity for quantity in QUANTITIES}
    for stored in content["functions"]:
        quantity = functions.get(stored["id"])
        if quantity is None or (quantity.name, path.stem) != (stored["name"], _group_of(quantity)):
            yield f"{stored['id']}: expected a function that this version has there, got another"
            continue
        seen.append(quantity.id)
        for test in stored["tests"]:
            place = f"{quantity.name}: test {test['id']}"
            yield from (f"{place}: {problem}" for problem in differences(quantity, test, content["flags"]))


def differences(quantity: Quantity, test: dict[str, Any], flags: dict[str, str]) -> Iterator[str]:
    """Where a stored test is not what the reference answers."""
    ids = [output.id.lower() for output in quantity.outputs]
    if not ids == list(test["outputs"]) == list(test["tolerance"]) == list(test["flags"]):
        yield f"expected the outputs {', '.join(ids)}, got {', '.join(test['outputs'])}"
        return
    for flag in sorted({flag for found in test["flags"].values() for flag in found} - flags.keys()):
        yield f"expected flags that the file explains, got {flag!r}"
    try:
        answers = zip(ids, *values_and_scales(quantity, inputs_of(test["inputs"]), Profile()))
    except Exception as error:
        yield f"expected inputs that the reference answers, got {type(error).__name__}: {error}"
        return
    for id, value, scale in answers:
        yield from _difference(id, array_of(test["outputs"][id]), array_of(test["tolerance"][id]), value, scale)
    if "gradients" in test:
        yield from _gradient_differences(quantity, inputs_of(test["inputs"]), ids, test["gradients"])


def _gradient_differences(quantity: Quantity, inputs: Inputs, ids: list[str], stored: dict[str, Any]) -> Iterator[str]:
    if list(stored["cotangent"]) != ids or list(stored["values"]) != list(stored["tolerance"]):
        yield f"gradients: expected a cotangent for {', '.join(ids)}, and a tolerance for each value, got others"
        return
    try:
        _, values, scales = gradients_of(quantity, inputs, tuple(map(array_of, stored["cotangent"].values())))
    except Exception as error:
        yield f"gradients: expected cotangents for which the reference has gradients, got {type(error).__name__}: {error}"
        return
    if list(stored["values"]) != list(values):
        yield f"gradients: expected those of {', '.join(values)}, got those of {', '.join(stored['values'])}"
        return
    for name, value in values.items():
        yield from _difference(f"gradient of {name}", array_of(stored["values"][name]), array_of(stored["tolerance"][name]),
                               value, scales[name])


def _difference(id: str, stored: Array, tolerance: Array, value: Array, scale: Array) -> Iterator[str]:
    """Where a stored value, or its tolerance, is not what the reference gives."""
    if stored.shape != value.shape or tolerance.shape != value.shape:
        yield f"{id}: expected shape {value.shape}, got {stored.shape}"
    elif (ratio := ratios(stored, value, scale, UNITS["float64"])).max(initial=0.0) > LIMIT:
        at = np.unravel_index(np.argmax(ratio), value.shape)
        yield f"{id}: expected {value[at]!r}, got {stored[at]!r} at {tuple(map(int, at))}"
    elif not np.allclose(tolerance, scale, rtol=0.01, atol=0, equal_nan=True):
        yield f"{id}: expected the tolerance of its formula, got another"
