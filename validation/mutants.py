"""Claim: of random one-node changes of the theory, every one that changes a value or a gradient by more than rounding is caught
by the package's own evidence: adjoint gaps and the contract, value checks, the textbook in digits, and clauses.

A *mutant* is one function, method or constant with one node of its syntax tree changed (`mutation`).  It is put in the place of
the right one in a forked process, and the evidence that reaches it (`evidence`) is asked, cheapest kind first, until some of it
objects: the mutant is killed.  What survives is compared with the right package, on the cases of the pairs that reach it and on the
arguments that it was seen to be called with, or for what is private those of the public functions of its module: either nothing
changes by more than 1e-9 of the largest entry, or the evidence has a gap and this claim fails.  That nothing changes is no proof:
what is equal on everything tried is listed, to be looked at.

    python validation/mutants.py [--seed 1] [--count 400] [--module gaussian] [--workers 2] [--planted]
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple
import argparse
import copy
import importlib
import inspect
import itertools
import multiprocessing
import resource
import signal
import sys
import time
import traceback
import warnings

import numpy as np
from claim import claim_of, conclude, row
from evidence import KINDS, Evidence, Pairs, drawn_cases, evidence
from mutation import MODULES, Mutant, changed, codes_of, described, drawn, function_of, in_place, rewritten, targets

from refdpm import gradcheck
from refdpm.vjp import Array

ROUNDING = 1e-9              # a change below this share of the largest entry is none
FLOOR = 1e-6                 # entries below this share of the largest of all are what is left of a cancellation
PATIENCE, SLOWER = 3.0, 20   # seconds, and how many times its usual time, before evidence is said to hang
MEMORY, CPU = 4 << 30, 400   # bytes that a mutant may use, and seconds before the system ends its process
SEEN, KEPT = 2, 30           # calls of a function that are kept: of one piece of evidence, and in all


# -- which evidence reaches which function -----------------------------------------------------------------------------

class Trace:
    """What each piece of evidence reaches, found by running it once on the right package.

    By target: the `evidence` that reaches it, and `calls` of it, as arguments by name; by the name of what is inside a function,
    calls of that.  By piece: `seconds`.
    """

    def __init__(self) -> None:
        self.functions = {f"{module}.{name}": function for module in MODULES for name in targets(module)
                          if (function := function_of(module, name)) is not None}
        self.remembering = [member for module in MODULES for member in vars(importlib.import_module(f"refdpm.{module}")).values()
                            if hasattr(member, "cache_clear")]           # what is remembered is not called
        self.evidence: dict[str, list[Evidence]] = {name: [] for name in self.functions}
        self.calls: dict[str, list[dict[str, Any]]] = {}
        self.seconds: dict[str, float] = {}
        self._owner = {id(code): (name, code) for name, function in self.functions.items()
                       for code in codes_of(function.__code__)}

    def run(self, piece: Evidence) -> None:
        """Raises: ValueError if the evidence objects to the right package."""
        for member in self.remembering:
            member.cache_clear()
        self._seen, started = Counter[str](), time.perf_counter()
        sys.setprofile(self._look)
        try:
            objection = objection_of(piece)
        finally:
            sys.setprofile(None)
        if objection:
            raise ValueError(f"{key_of(piece)}: expected no objection to the right package, but it {objection}")
        self.seconds[key_of(piece)] = time.perf_counter() - started
        for name in self.functions:
            if self._seen[name]:
                self.evidence[name].append(piece)

    def _look(self, frame: Any, event: str, _: Any) -> None:
        if event == "call" and id(frame.f_code) in self._owner:
            name, code = self._owner[id(frame.f_code)]
            self._seen[name] += 1
            name = f"inside {name}" if "<locals>" in code.co_qualname else name
            self._seen[name] += name not in self.functions
            calls = self.calls.setdefault(name, [])
            if self._seen[name] <= SEEN and len(calls) < KEPT and (arguments := arguments_of(frame)) is not None:
                calls.append(arguments)

    def add_constants(self) -> None:
        """What reaches a constant is what reaches a function that looks it up."""
        for module, name in ((module, name) for module in MODULES for name in targets(module)):
            if function_of(module, name) is None:
                users = [user for user, function in self.functions.items() if _looks_up(function, name)]
                reaching = {key_of(piece): piece for user in users for piece in self.evidence[user]}
                self.evidence[f"{module}.{name}"] = list(reaching.values())


def _looks_up(function: Any, name: str) -> bool:
    """Whether a function reads a name of its module, or of another one whose name is in capitals: kernel.SMOOTH_DRAWS."""
    known = name in function.__globals__ or name.isupper()
    return known and any(name in code.co_names for code in codes_of(function.__code__))


def traced(pieces: list[Evidence]) -> Trace:
    """Every piece of evidence run once; for every target by kind, the pair of the function first, then by what it costs."""
    trace = Trace()
    for piece in pieces:
        trace.run(piece)
    trace.add_constants()
    for name, reaching in trace.evidence.items():
        pair = name.removesuffix("_vjp")
        reaching.sort(key=lambda one: (KINDS.index(one.kind), one.name != pair, trace.seconds[key_of(one)]))
    return trace


def key_of(piece: Evidence) -> str:
    return f"{piece.kind} {piece.name}"


def arguments_of(frame: Any) -> dict[str, Any] | None:
    """The arguments at the beginning of a call; None if it is under way, or takes what can be read only once."""
    code, found = frame.f_code, frame.f_locals
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    starred = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if starred or set(found) - set(names) - set(code.co_freevars) or any(hasattr(found[name], "__next__") for name in names):
        return None
    return fresh({name: found[name] for name in names})


def fresh(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments, with copies of what a call changes."""
    return {name: copy.deepcopy(value) if isinstance(value, np.random.Generator) else value for name, value in arguments.items()}


# -- one mutant ----------------------------------------------------------------------------------------------------------

class Outcome(NamedTuple):
    """What became of a mutant.

    kind, by   the evidence that killed it, both empty for a survivor; how: "objects", "raises" or "hangs"
    change     the largest difference from the right package that a survivor makes, as a share of the largest entry; ∞ where the
               structure changes or it raises; NaN if it is never called.  where: the call that shows it
    """

    kind: str
    by: str
    how: str = ""
    change: float = 0.0
    where: str = ""


class Hangs(BaseException):
    """What is raised in what takes far longer than usual; no `except Exception` takes it for an answer."""


def outcome(trace: Trace, pairs: Pairs, mutant: Mutant) -> Outcome:
    pieces = trace.evidence[f"{mutant.module}.{mutant.target}"]
    try:
        wrong = changed(mutant)
    except Exception:                                                # a number of the module that cannot be computed
        return Outcome(pieces[0].kind, "import", "raises")
    with in_place(mutant, wrong):
        for piece in pieces:
            end_after(PATIENCE + SLOWER * trace.seconds[key_of(piece)])
            how = objection_of(piece)
            if how:
                return Outcome(piece.kind, piece.name, how)
    return Outcome("", "", "", *difference(mutant, [*on_cases(pairs, pieces), *on_calls(trace, mutant)]))


def objection_of(piece: Evidence) -> str:
    """"objects" if the answer is that something is wrong, "raises" or "hangs" if there is none, and "" if all is right."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "objects" if piece.objects() else ""
    except Exception:
        return "raises"
    except Hangs:
        return "hangs"


def end_after(seconds: float) -> None:
    """From now on that long, until `Hangs` is raised; 0 for never."""
    def over(*_: Any) -> None:
        raise Hangs

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)


# -- a survivor beside the right function ------------------------------------------------------------------------------

Way = tuple[str, Callable[[], Any]]


def difference(mutant: Mutant, ways: list[Way]) -> tuple[float, str]:
    """The largest change that the mutant makes in one of the ways to ask, and which way that is; NaN if there is none."""
    right = [answer(ask) for _, ask in ways]
    with in_place(mutant, changed(mutant)):
        changes = [(apart(was, answer(ask)), name) for was, (name, ask) in zip(right, ways)]
    return max(changes, default=(float("nan"), "never called"), key=lambda change: change[0])


def on_cases(pairs: Pairs, pieces: list[Evidence]) -> list[Way]:
    """The pairs among the evidence, on their cases."""
    return [(f"pair {piece.name}, case {i}", lambda f=f, case=case: pulled(f(*case[0], **case[1])))
            for piece in pieces if piece.kind == "adjoint" for i, case in enumerate(pairs[piece.name][1])
            for f in (pairs[piece.name][0].f, pairs[piece.name][0].f_vjp)]


def on_calls(trace: Trace, mutant: Mutant) -> list[Way]:
    """The recorded calls of a public function, to be made again; for anything else those of all public functions of its module."""
    target = f"{mutant.module}.{mutant.target}"
    names = [name for name in trace.functions if name.startswith(f"{mutant.module}.") and "._" not in name]
    return [(f"a call of {name}", partial(called, trace.functions[name], arguments, trace.calls.get(f"inside {name}", [])))
            for name in ([target] if target in names else names) for arguments in trace.calls.get(name, [])]


def called(function: Any, arguments: dict[str, Any], inner: list[dict[str, Any]]) -> Any:
    """The value; with the pullback of random numbers; of a generator what it yields; of a function its values."""
    given, names = fresh(arguments), function.__code__.co_varnames[:function.__code__.co_argcount]
    value = function(*[given.pop(name) for name in names], **given)
    if hasattr(value, "__next__"):
        return list(itertools.islice(value, 100))
    return [answer(partial(value, **fresh(given))) for given in inner] if callable(value) else pulled(value)


def pulled(value: Any) -> Any:
    """For (value, pullback) the value and what the pullback makes of random numbers; anything else as it is."""
    if isinstance(value, tuple) and len(value) == 2 and callable(value[1]):
        return value[0], value[1](gradcheck.random_like(value[0], np.random.default_rng(7)))
    return value


def answer(ask: Callable[[], Any]) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            end_after(PATIENCE)
            return ask()
    except (Exception, Hangs) as error:
        return error


def apart(right: Any, other: Any) -> float:
    """The largest difference as a share of the largest entry of its part, or of what cancels in it, FLOOR of the largest of all.

    ∞ for another structure and where one is a number and the other is none, 0 where no answer was right.
    """
    before, after = list(numbers_in(right)), list(numbers_in(other))
    if isinstance(right, BaseException):
        return 0.0
    if [part.shape for part in before] != [part.shape for part in after]:
        return float("inf")
    found, least = [0.0], FLOOR * max(map(largest, before), default=0.0)
    for was, now in zip(before, after):
        with np.errstate(all="ignore"):
            error = np.abs(was - now) / (max(largest(was), least) or 1.0)
        same = (was == now) | (np.isnan(was) & np.isnan(now))
        found.append(float(np.max(np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf)), initial=0.0)))
    return max(found)


def numbers_in(tree: Any) -> Iterator[Array]:
    """The real numbers of an answer, as arrays, from left to right; a mark of its kind for a structure and for an error."""
    if isinstance(tree, (tuple, list)):
        yield np.zeros((0, len(tree)))
        for part in tree:
            yield from numbers_in(part)
    elif isinstance(tree, (np.ndarray, np.generic, float, int, complex)) and np.asarray(tree).dtype.kind in "fciub":
        yield np.real(np.asarray(tree)) * 1.0
    elif isinstance(tree, BaseException):
        yield np.zeros((0, 0, 0))


def largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))


# -- many mutants --------------------------------------------------------------------------------------------------------

FORK = multiprocessing.get_context("fork")
GIVEN: dict[str, Any] = {}                        # what forked processes inherit, and need not be sent


def outcomes(mutants: list[Mutant], workers: int) -> list[Outcome]:
    """The outcome of each, every one in a process of its own, `workers` of them at a time."""
    with ProcessPoolExecutor(workers, mp_context=FORK) as pool:
        return list(pool.map(outcome_apart, range(len(mutants))))


def outcome_apart(number: int) -> Outcome:
    """The outcome in a process of its own: one that dies, or that the system ends, has killed its mutant.

    Raises: RuntimeError with the error in this script that the process met.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(sender, number))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = "crash", "", "the process died"
    process.join()
    if isinstance(found, str):
        raise RuntimeError(found)
    return Outcome(*found)


def child(sender: Any, number: int) -> None:
    """Sends the outcome, or the text of an error in this script."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    try:
        found = tuple(outcome(GIVEN["trace"], GIVEN["pairs"], GIVEN["mutants"][number]))
        end_after(0)
        sender.send(found)
    except Exception:
        sender.send(traceback.format_exc())


def judged(mutants: list[Mutant], workers: int) -> tuple[list[Outcome], list[str]]:
    """What becomes of each mutant; and all targets that no evidence reaches.

    Raises: ValueError if some evidence objects to the right package.
    """
    pairs = drawn_cases()
    trace = traced(evidence(pairs))
    GIVEN.update(trace=trace, pairs=pairs, mutants=mutants)
    return outcomes(mutants, workers), [name for name, pieces in trace.evidence.items() if not pieces]


# -- the report ----------------------------------------------------------------------------------------------------------

SURVIVING = {"equal": "equal on everything tried", "unasked": "no evidence reaches it",
             "CHANGED": "a value or a gradient changes, and nothing objects"}


def verdict(result: Outcome) -> str:
    """The kind of what killed it, or one of `SURVIVING`."""
    if result.kind:
        return result.kind
    return "unasked" if np.isnan(result.change) else "CHANGED" if result.change > ROUNDING else "equal"


def listed(mutants: list[Mutant], found: list[Outcome], which: str) -> list[str]:
    """The mutants with this verdict, one a line."""
    return [f"{described(mutant)}   [{result.change:.1e}, {result.where}]"
            for mutant, result in zip(mutants, found) if verdict(result) == which]


def rows_of(found: list[Outcome], unasked: list[str]) -> list[dict[str, Any]]:
    """The verdicts, from what became of all mutants."""
    counts, raising = Counter(map(verdict, found)), sum(result.how == "raises" for result in found)
    killed = sum(counts[kind] for kind in (*KINDS, "crash"))
    by = ", ".join(f"{counts[kind]} by {kind}" for kind in (*KINDS, "crash") if counts[kind])
    return [row(f"{killed} of {len(found)} killed: {by}; {raising} of them give no answer at all; {counts['equal']} are equal on "
                f"everything tried, {counts['unasked']} are not asked", "more than 9 in 10", killed > 0.9 * len(found)),
            row(f"{counts['CHANGED']} survivors change a value or a gradient", "none", not counts["CHANGED"]),
            row(f"of {len(MODULES)} modules no evidence reaches: {', '.join(unasked) or 'nothing'}", "nothing", not unasked)]


# -- mutants whose end is known ------------------------------------------------------------------------------------------

PLANTED = (("gaussian", "posterior", "beta * v / w", "beta * v / (w * 1.001)", True),
           ("gaussian", "kl_vjp", "delta / p.var + r * r", "delta / p.var + r", True),
           ("binomial", "posterior_vjp", "posterior(", "marginal(", True),
           ("bound", "step_kl_vjp", "dx_t_posterior + dx_t_reverse", "dx_t_posterior", True),
           ("layers.conv", "_turn", "::-1, ::-1", "::-1, :", True),
           ("sample", "sample", "end[-1]", "end[-1] - 1", True),
           ("sample", "forward_path", "noise[t - 1]", "noise[-(t - 1)]", True),
           ("likelihood", "log_weights", "noise[t - 1]", "noise[t - 2]", True),
           ("networks.swiss_roll", "_spread_out", "len(chosen) < count", "len(chosen) >= 0", True),
           ("networks.image", "_GAIN", "1.0", "1.001", True),
           ("vjp", "unbroadcast", "dx.shape == shape", "dx.shape != shape", True),
           ("gaussian", "LOG_2PI", "float(np.log(2 * np.pi))", "float(np.log(2 * np.pi)) + 0.1", True),
           ("gaussian", "forward", "np.sqrt(1 - beta) * x_prev", "x_prev * np.sqrt(1 - beta)", False),
           ("gaussian", "_log_excess", "np.real(delta) < 1", "np.real(delta) <= 1", False))


def planted(workers: int) -> int:
    """The planted mutants, one a line.  Returns the exit code."""
    mutants = [rewritten(*part[:4]) for part in PLANTED]
    found = judged(mutants, workers)[0]
    right = [bool(result.kind) if killed else verdict(result) == "equal" for result, (*_, killed) in zip(found, PLANTED)]
    for mutant, result, holds in zip(mutants, found, right):
        print(f"{'ok ' if holds else 'NOT'}  {described(mutant)}: {verdict(result)} {result.by}")
    return 0 if all(right) else 1


# -- the whole -----------------------------------------------------------------------------------------------------------

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be given more than once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--planted", action="store_true", help="only mutants whose end is known; writes no result")
    options, started = parser.parse_args(), time.perf_counter()
    if options.planted:
        return planted(options.workers)
    mutants, possible = drawn(tuple(options.module or MODULES), seed=options.seed, count=options.count)
    found, unasked = judged(mutants, options.workers)
    left = {which: listed(mutants, found, which) for which in SURVIVING}
    for which, meaning in SURVIVING.items():
        print(f"\n{which}: {meaning}", *left[which], sep="\n")
    return conclude("mutants", claim_of(__doc__), rows_of(found, unasked), seconds=time.perf_counter() - started,
                    settings={"seed": options.seed, "count": options.count, "modules": options.module or "all"},
                    data={"possible": possible, **left})


if __name__ == "__main__":
    raise SystemExit(main())
