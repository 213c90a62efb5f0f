"""Claim: of single edits of implementations that share nothing with this package, made by a program, the conformance kit catches
at least 98 % of those that change an answer, explains at least 80 % of them in the first line of its report, and at most 2 %
wrongly; and it finds nothing wrong in the same implementations unedited, in float32 and float64.

The implementations are in subjects/, each with the file that gives its functions the kit's names (PyTorch, NumPy, discrete, a
plain DDPM; EDM with its solvers, a flow, masked tokens); who wrote them had not read the kit's source. `source_edits` says what
an edit is. Left out, and counted: edits that do not run (they raise at import, or wherever they are reached), and edits with which
no function gives another answer, neither on what the kit asks nor on inputs made here.

An edit is missed if every clause passes, or if the kit itself raises an error. A failure is explained if the first line of the
report has a mistake, a symptom or an edit of the textbook, a law that says what was done (not one of moments or of a whole chain),
or the exception with its place, also where that keeps the function from being checked. The explanation is wrong if with other
inputs (another seed) the same clause has another name, or if the function that is accused gives the answers that it gave before.

--folder DIR has repairs of public repositories, fetched beforehand: DIR/NAME/before and DIR/NAME/after, each with an adapter.py
that imports what lies beside it. The kit has to fail before in a way in which it does not fail after: a clause passes then, or has
another explanation, for a repair may leave other mistakes. With --edits 0 --seeds 0 only the folder is looked at, and no result is
kept.

    python validation/naming.py [--edits N] [--seeds N] [--jobs N] [--only SUBJECT] [--folder DIR]
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import types
import warnings

from claim import claim_of, conclude, row
from source_edits import Edit, drawn, functions_of
import numpy as np

from refdpm.conformance import judge as judging, session as kit
from refdpm.conformance.adapter import Fault, Local, Observed, Skip
from refdpm.conformance.causes import is_distribution
from refdpm.conformance.chapters.quantity import Law
from refdpm.conformance.judge import Effort
from refdpm.conformance.profile import Profile
from refdpm.conformance.report import FAILING, headline
from refdpm.conformance.subject import Subject

SUBJECTS = Path(__file__).parent / "subjects"
EFFORT = Effort(max_examples=3)
OTHER_SEED = EFFORT._replace(seed=1)
CLAUSES = {id: of for id, of in kit.all_clauses() if not id.startswith("GRAD.")}
CALLS, OWN = 10, 4              # of one function: inputs of the kit, and of our own, on which the answers are compared
ROUNDING = 64                   # units in which an answer has to differ to be another one
RAISED = r"raises|returns shape|returns \S+ for \S+, expected|asks for|refuses \d+ of \d+ inputs: raises"
UNITS = {"float32": 2.0 ** -24, "float64": 2.0 ** -53}


class Setting(NamedTuple):
    """A subject, and what it reads from the environment."""

    subject: str
    environment: tuple[tuple[str, str], ...]
    share: int                   # of 100 edits


SETTINGS = (
    Setting("ddpm_torch", (("PREDICT", "eps"), ("VARIANCE", "small"), ("PRECISION", "float32")), 9),
    Setting("nonequil_numpy", (("WIDTH", "fixed"), ("PRECISION", "float64")), 16),
    Setting("plain_ddpm", (), 12),
    Setting("d3pm_discrete", (("PRECISION", "float32"),), 13),
    Setting("nonequil_numpy", (("WIDTH", "free"), ("PRECISION", "float64")), 5),
    Setting("ddpm_torch", (("PREDICT", "v"), ("VARIANCE", "learned_range"), ("PRECISION", "float32")), 5),
    Setting("edm_numpy", (), 16), Setting("flow_torch", (), 10), Setting("mdlm_numpy", (), 14))
LATER = ("edm_numpy", "flow_torch", "mdlm_numpy")      # what is no chain of Gaussian steps


class Found(NamedTuple):
    """What came of one edit."""

    subject: str
    edit: Edit
    outcome: str                 # "does not run", "changes nothing", "missed", "unexplained", "explained", "otherwise"
    clause: str = ""
    headline: str = ""
    by: str = ""                 # what explains: "name", "law", "exception"
    again: str = ""              # with the other seed
    changed: tuple[str, ...] = ()
    row: Mapping[str, Any] | None = None


# -- a subject in this process -------------------------------------------------------------------------------------------

def loaded(setting: Setting, source: str) -> types.ModuleType:
    """The adapter of a subject whose source reads so."""
    os.environ.update(setting.environment)
    module = types.ModuleType(setting.subject)
    module.__file__ = str(SUBJECTS / f"{setting.subject}.py")
    sys.modules[setting.subject] = module
    exec(compile(source, module.__file__, "exec"), vars(module))
    path = SUBJECTS / f"{setting.subject}_adapter.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adapter)
    return adapter


def source_text(setting: Setting) -> str:
    """The source of a subject."""
    return (SUBJECTS / f"{setting.subject}.py").read_text(encoding="utf-8")


class Recorded:
    """A source that remembers what it was asked."""

    def __init__(self, source: Local) -> None:
        self.source, self.calls = source, {}         # type: Local, dict[str, list[dict[str, Any]]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the function returns."""
        asked = self.calls.setdefault(name, [])
        if len(asked) < 400:
            asked.append({key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()})
        return self.source.call(name, arguments)


class Sharing(Subject):
    """A subject that knows from those before it what is right, which no edit changes."""

    known: dict[Any, Any] = {}

    def _remember(self, key: Any, call: Callable[[], Any]) -> Any:
        if key[0] not in ("right", "scale"):
            return super()._remember(key, call)
        key = self.source.dtype, *key
        if key not in self.known:
            try:
                self.known[key] = super()._remember(key, call), None
            except (Skip, Fault, ValueError) as error:
                self.known[key] = None, error
        found, error = self.known[key]
        if error is not None:
            raise error
        return found


class Before(NamedTuple):
    """The unedited subject: what it was asked, its answers, which functions of its source each of its functions reaches, and its
    conventions."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    answers: tuple[Any, ...]
    reached: dict[str, set[str]]
    profile: Profile


@cache
def before(setting: Setting) -> Before:
    """The unedited subject, asked as the kit asks, and with inputs of our own."""
    adapter = loaded(setting, source_text(setting))
    recorded = Recorded(Local(adapter, names=kit.NAMES))
    kit.check(recorded, only=[*CLAUSES], effort=EFFORT)
    rng = np.random.default_rng(7)
    calls = [(name, one) for name, asked in recorded.calls.items() for one in _spread(asked, rng)]
    source, reached = Local(adapter, names=kit.NAMES), {}                 # type: Local, dict[str, set[str]]
    answers = []
    for name, arguments in calls:
        with _seen(setting, reached.setdefault(name, set())):
            answers.append(answer(source, name, arguments))
    return Before(tuple(calls), tuple(answers), reached, kit.Session(adapter).subject.profile)


def _spread(asked: list[dict[str, Any]], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Some of the inputs, the first and the last among them, and some of our own that are like them."""
    chosen = [asked[i] for i in sorted({round(x) for x in np.linspace(0, len(asked) - 1, CALLS)})]
    small = [one for one in chosen if all(np.size(value) < 2000 for value in one.values() if isinstance(value, np.ndarray))]
    yield from chosen
    for one in (small or chosen)[-OWN:]:
        yield {name: _own(name, value, rng) for name, value in one.items()}


def _own(name: str, value: Any, rng: np.random.Generator) -> Any:
    """Numbers of our own in the place of the kit's: permuted and scaled; schedules permuted; t drawn among those that came."""
    if not isinstance(value, np.ndarray) or value.ndim == 0 or value.dtype.kind not in "fiu":
        return value
    mixed = rng.permutation(value.reshape(-1)).reshape(value.shape)
    return mixed if value.dtype.kind != "f" or name == "beta" else (mixed * rng.uniform(0.5, 1.0)).astype(value.dtype)


class _seen:
    """Which functions of the subject's file run."""

    def __init__(self, setting: Setting, names: set[str]) -> None:
        self.file, self.names = str(SUBJECTS / f"{setting.subject}.py"), names

    def __enter__(self) -> None:
        sys.setprofile(self._note)

    def __exit__(self, *_: Any) -> None:
        sys.setprofile(None)

    def _note(self, frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename == self.file:
            self.names.add(frame.f_code.co_qualname.partition(".<locals>")[0])


def answer(source: Local, name: str, arguments: Mapping[str, Any]) -> Any:
    """The arrays of an answer, or the words of what was raised; with the random numbers of a seed."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)
    given = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    given |= {key: value.model for key, value in given.items() if isinstance(value, Observed)}
    try:
        found = source.call(name, given)
    except (Skip, Fault) as error:
        return str(error).partition(" (")[0]
    return tuple(found.values()) if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)


def same(came: Any, was: Any) -> bool:
    """Whether two answers are the same, to some rounding."""
    if isinstance(came, str) or isinstance(was, str):
        return isinstance(came, str) and isinstance(was, str)
    if len(came) != len(was) or any(_apart_in_shape(one.shape, other.shape) for one, other in zip(came, was)):
        return False
    return all(np.allclose(one, other, rtol=ROUNDING * UNITS.get(str(other.dtype), 0.0), atol=0, equal_nan=True)
               for one, other in zip(came, was))


def _apart_in_shape(came: tuple[int, ...], was: tuple[int, ...]) -> bool:
    """Whether they are not the same, and neither has one number where the other repeats it for every component."""
    return len(came) != len(was) or any(1 not in (a, b) and a != b for a, b in zip(came[1:], was[1:])) or came[:1] != was[:1]


# -- one edit --------------------------------------------------------------------------------------------------------------

def of_edit(setting: Setting, edit: Edit) -> Found:
    """What the kit says of one edit."""
    try:
        adapter = loaded(setting, edit.source)
        source = Local(adapter, names=kit.NAMES)
    except Exception:
        return Found(setting.subject, edit, "does not run")
    known = before(setting)
    changed: dict[str, bool] = {}
    for (name, arguments), was in zip(known.calls, known.answers):
        if edit.function in known.reached[name]:
            came = answer(source, name, arguments)
            if not same(came, was):
                changed[name] = changed.get(name, False) or not isinstance(came, str)
    if not changed:
        return Found(setting.subject, edit, "changes nothing")
    if not any(changed.values()):
        return Found(setting.subject, edit, "does not run")
    return _judged(Found(setting.subject, edit, "missed", changed=tuple(changed)), adapter, known.profile)


def _judged(found: Found, adapter: types.ModuleType, before: Profile) -> Found:
    """What the kit says; where it infers the conventions of before, clauses on what did not change are left out."""
    try:
        profile = kit.Session(adapter).subject.profile
        only = [id for id, of in CLAUSES.items() if profile != before or _names_of(of) & set(found.changed)]
        report = kit.check(adapter, only=only, effort=EFFORT, profile=profile.stated())
    except Exception as error:
        return found._replace(headline=f"the kit raises {type(error).__name__}: {error}")
    if not report["causes"]:
        kept = any(one["verdict"] == "not checked" and one["reason"].startswith("raises") and one["function"] in found.changed
                   for one in report["clauses"])
        return found._replace(headline=headline(report), **{"outcome": "explained", "by": "exception"} if kept else {})
    first = next(one for one in report["clauses"] if one["id"] == report["causes"][0]["first"])
    found = found._replace(outcome="unexplained", clause=first["id"], headline=headline(report), row=first)
    found = found._replace(by=_explained_by(first))
    if not found.by:
        return found
    again = kit.check(adapter, only=[first["id"]], effort=OTHER_SEED, profile=profile.stated())
    other = next((one for one in again["clauses"] if one["id"] == first["id"]), None)
    found = found._replace(again=headline(again), outcome="explained")
    holds = other is not None and _agree(first, other, found.by) and first["function"] in found.changed
    return found if holds else found._replace(outcome="otherwise")


def _names_of(of: Any) -> set[str]:
    """The functions that a clause asks; of every one, where it is a law of all."""
    return set(of.needs or kit.NAMES) if isinstance(of, Law) else {of.name, *of.after}


def _explained_by(first: Mapping[str, Any]) -> str:
    """What explains a failure: "name", "law", "exception", "" for nothing."""
    if first["mistake"]:
        return "name"
    if first["kind"] == "law" and first["reason"] and (first["reason"].startswith(("draws ", "t = "))
                                                       or not is_distribution(CLAUSES[first["id"]])):
        return "law"
    return "exception" if re.match(RAISED, first["reason"]) else ""


def _agree(first: Mapping[str, Any], other: Mapping[str, Any], by: str) -> bool:
    """Whether the explanation is the same with other inputs."""
    if by != "name":
        return _explained_by(other) == by
    return bool({first["mistake"], *first["also"]} & {other["mistake"], *other["also"]} - {None})


# -- all of them -----------------------------------------------------------------------------------------------------------

def all_of(setting: Setting, wanted: int, seed: int) -> list[Found]:
    """Edits of a subject until so many of them change something."""
    known, found = before(setting), []                           # type: Before, list[Found]
    reached = set().union(*known.reached.values())
    source = source_text(setting)
    assert reached <= {name for name, _ in functions_of(ast.parse(source))} | {"<module>", "<lambda>"}, reached
    counted = 0
    for edit in drawn(source, reached, seed):
        if counted == wanted:
            break
        one = of_edit(setting, edit)
        counted += one.outcome not in ("does not run", "changes nothing")
        found.append(one)
        if one.outcome not in ("does not run", "changes nothing"):
            print(_line(one), file=sys.stderr, flush=True)
    return found


def _line(one: Found) -> str:
    return "\n   ".join(filter(None, [
        f"{one.outcome.upper()} {one.subject}.{one.edit.function}:{one.edit.line} [{one.edit.kind}]", f"- {one.edit.before}",
        f"+ {one.edit.after}", one.headline, one.again if one.outcome == "otherwise" else "",
        f"changed: {', '.join(one.changed)}" if one.outcome in ("missed", "otherwise") else "",
        _numbers(one.row) if one.outcome == "unexplained" and one.row else ""]))


def _numbers(first: Mapping[str, Any]) -> str:
    return (f"came {first['observed']} where {first['right']} is right, {first['where'] or 'everywhere'}; "
            f"the nearest, {first['runner_up']}, leaves {first['runner_up_distance']}")


def false_alarms(setting: Setting, seeds: int) -> list[str]:
    """What the kit finds wrong in the unedited subject."""
    return [f"{setting.subject} {dict(environment)} seed {seed}: {one['id']} is {one['verdict']} ({one['ratio']:.3g})"
            for environment in _precisions(setting) for seed in range(seeds)
            for one in kit.check(loaded(setting._replace(environment=environment), source_text(setting)), only=[*CLAUSES],
                                 effort=EFFORT._replace(seed=seed))["clauses"] if one["verdict"] in FAILING]


def _precisions(setting: Setting) -> list[tuple[tuple[str, str], ...]]:
    given = dict(setting.environment)
    return [tuple((given | {"PRECISION": dtype}).items()) for dtype in UNITS] if "PRECISION" in given else [setting.environment]


def _task(task: tuple[str, Setting, int, int]) -> Any:
    kind, setting, number, seed = task
    warnings.simplefilter("ignore")
    with suppress(ImportError):
        import torch
        torch.set_num_threads(1)
    kit.Subject = Sharing
    judging.places_of = lambda *_: []
    judging.unseen = lambda *_, **__: []               # what a pass proves takes half of the time and is not asked here
    return false_alarms(setting, number) if kind == "alarms" else all_of(setting, number, 100 * seed + SETTINGS.index(setting))


# -- repairs of public repositories --------------------------------------------------------------------------------------------

class Repair(NamedTuple):
    """A repair of somebody else's: whether the kit sees it, whether a clause fails before it and passes after it, and the first
    lines of the reports."""

    name: str
    seen: bool
    passes: bool
    before: str
    after: str


def repairs(folder: Path) -> list[Repair]:
    """What the kit says of every repair in the folder."""
    found = []
    for place in sorted(path.parent.parent for path in folder.glob("*/before/adapter.py")):
        before, after = (_report_of(place / when / "adapter.py") for when in ("before", "after"))
        gone = _failures(before) - _failures(after)
        passes = bool({id for id, _ in gone} - {id for id, _ in _failures(after)})
        found.append(Repair(place.name, bool(gone), passes, headline(before), headline(after)))
    return found


def _failures(report: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What fails in a report, each with the mistake that explains it."""
    return {(one["id"], one["mistake"] or "") for one in report["clauses"] if one["verdict"] in FAILING}


def _report_of(adapter: Path) -> dict[str, Any]:
    """The report on a file, in a process of its own, for before and after have modules of the same names."""
    command = [sys.executable, "-m", "refdpm", "check", "--json", "--max-examples", str(EFFORT.max_examples), str(adapter)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return json.loads(printed)


# -- the verdict -------------------------------------------------------------------------------------------------------------

COLUMNS = ("does not run", "changes nothing", "missed", "unexplained", "explained", "otherwise")


def table(found: Iterable[Found]) -> list[str]:
    """A line for each subject, and one for all."""
    found = list(found)
    lines = [f"{'':16s} {'edits':>6s} {'do not run':>10s} {'change nothing':>14s} {'counted':>8s} {'caught':>7s} "
             f"{'explained':>9s} {'(name':>6s} {'law':>4s} {'raised)':>7s} {'otherwise':>9s}"]
    for subject in [*dict.fromkeys(one.subject for one in found), "all"]:
        of = [one for one in found if subject in ("all", one.subject)]
        count, by = Counter(one.outcome for one in of), Counter(one.by for one in of if one.outcome == "explained")
        counted = len(of) - count["does not run"] - count["changes nothing"]
        lines.append(f"{subject:16s} {len(of):6d} {count['does not run']:10d} {count['changes nothing']:14d} {counted:8d} "
                     f"{counted - count['missed']:7d} {count['explained']:9d} {by['name']:6d} {by['law']:4d} "
                     f"{by['exception']:7d} {count['otherwise']:9d}")
    return lines


def rows_of(found: list[Found], of: str = "", least: int = 100) -> list[dict[str, Any]]:
    """What is claimed of edits, with its numbers."""
    count = Counter(one.outcome for one in found)
    counted = sum(count[outcome] for outcome in COLUMNS[2:]) or 1
    caught = counted - count["missed"]
    return [row(f"{of}{counted} edits that change an answer, of {len(found)} ({count['changes nothing']} change nothing, "
                f"{count['does not run']} do not run)", f"at least {least}", counted >= least),
            row(f"{of}{caught} of {counted} caught: {caught / counted:.1%}", "at least 98 %", caught >= 0.98 * counted),
            row(f"{of}{count['explained']} of {counted} explained in the first line: {count['explained'] / counted:.1%}",
                "at least 80 %", count["explained"] >= 0.80 * counted),
            row(f"{of}{count['otherwise']} of {counted} explained otherwise with another seed, or of a function that did not "
                f"change: {count['otherwise'] / counted:.1%}", "at most 2 %", count["otherwise"] <= 0.02 * counted)]


def repair_rows(repaired: list[Repair]) -> list[dict[str, Any]]:
    """What is claimed of repairs."""
    seen = sum(one.seen for one in repaired)
    return [row(f"{len(repaired)} repairs of public repositories", "at least 12", len(repaired) >= 12),
            row(f"{seen} of {len(repaired)} seen; after {sum(one.passes for one in repaired)} of them a clause passes that failed",
                "all seen", seen == len(repaired))]


def _plain(one: Found) -> dict[str, Any]:
    return {"subject": one.subject, "function": one.edit.function, "line": one.edit.line, "kind": one.edit.kind,
            "before": one.edit.before, "after": one.edit.after, "outcome": one.outcome, "says": one.headline}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=120, help="that change an answer, over all subjects")
    parser.add_argument("--seeds", type=int, default=10, help="with which the unedited subjects are checked; 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="of the edits")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="one of the subjects")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="public repositories before and after a repair")
    options = parser.parse_args()
    started = time.perf_counter()
    settings = [one for one in SETTINGS if options.only in ("", one.subject)]
    tasks = [("edits", one, round(options.edits * one.share / 100), options.seed) for one in settings if options.edits]
    tasks += [("alarms", one, options.seeds, options.seed) for one in settings if options.seeds]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(_task, tasks))
    found = [one for (kind, *_), result in zip(tasks, results) if kind == "edits" for one in result]
    alarms = [one for (kind, *_), result in zip(tasks, results) if kind == "alarms" for one in result]
    repaired = repairs(options.folder) if options.folder else []
    if options.edits:
        print("\n".join(table(found)))
    if not options.folder:
        print("repairs of public repositories: not looked at, for no folder with fetched commits was given (--folder DIR)")
    for one in repaired:
        print(f"{one.name}: {'seen' if one.seen else 'NOT SEEN'}\n  before  {one.before}\n  after   {one.after}")
    rows = rows_of(found) if options.edits else []
    later = [one for one in found if one.subject in LATER]
    rows += rows_of(later, "EDM, flow and tokens alone: ", 40) if later and not options.only else []
    rows += repair_rows(repaired) if options.folder else []
    rows += [row(f"wrong or inaccurate unedited: {alarms or 'none'}", "none", not alarms)] if options.seeds else []
    if not tasks:
        print("\n".join(f"{one['number']}: expected {one['expectation']}" for one in rows))
        return 0 if all(one["holds"] for one in rows) else 1
    return conclude("naming", claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"edits": options.edits, "seeds": options.seeds, "seed": options.seed,
                              "max_examples": EFFORT.max_examples},
                    data={"edits": [_plain(one) for one in found if one.outcome != "does not run"], "table": table(found)})


if __name__ == "__main__":
    sys.exit(main())
