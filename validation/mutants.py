"""Claim: of random one-node changes of the theory, every one that changes a value or a gradient by more than rounding is caught
by the package's own evidence: adjoint gaps and the contract, value checks, the textbook in digits, and clauses.

A *mutant* is one function, method or constant with one node of its syntax tree changed (`mutation`).  It is put in the place of
the right one in a forked process, and the evidence that reaches it (`evidence`) is asked, cheapest kind first, until some of it
objects: the mutant is killed.  What survives is compared with the right package, on the cases of the pairs that reach it and on the
arguments that it was seen to be called with, or for what is private the public functions that call it: either nothing changes by
more than 1e-9 of the largest entry, or the evidence has a gap and this claim fails.  That nothing changes is no proof: what is
equal on everything tried is listed, to be looked at.

    python validation/mutants.py [--seed 1] [--count 400] [--module gaussian] [--workers 2] [--planted]
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
import argparse
import copy
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
from mutation import MODULES, Mutant, codes_of, described, drawn, function_of, in_place, rewritten, targets

from refdpm import gradcheck
from refdpm.vjp import Array

ROUNDING = 1e-9              # a change below this share of the largest entry is none
FLOOR = 1e-6                 # entries below this share of the largest of all are what is left of a cancellation
PATIENCE, SLOWER = 3.0, 20   # seconds, and how many times its usual time, before evidence is said to hang
MEMORY, CPU = 4 << 30, 400   # bytes that a mutant may use, and seconds before the system ends its process
SEEN, KEPT = 2, 30           # calls of a function that are kept: of one piece of evidence, and of all


# -- which evidence reaches which function -----------------------------------------------------------------------------

class Call(NamedTuple):
    """Arguments that a function was seen to be called with, by name; or one inside it."""

    owner: str
    inside: bool
    arguments: dict[str, Any]


class Trace:
    """What each piece of evidence reaches, found by running it once on the right package.

    By target: the `evidence` that reaches it, `calls` of it, and for what is private its public `callers`.  By piece: `seconds`.
    """

    def __init__(self) -> None:
        self.functions = {f"{module}.{name}": function for module in MODULES for name in targets(module)
                          if (function := function_of(module, name)) is not None}
        self.evidence: dict[str, list[Evidence]] = {name: [] for name in self.functions}
        self.calls: dict[str, list[Call]] = {name: [] for name in self.functions}
        self.callers: dict[str, set[str]] = {name: set() for name in self.functions}
        self.seconds: dict[str, float] = {}
        self._owner = {id(code): (name, code) for name, function in self.functions.items()
                       for code in codes_of(function.__code__)}

    def run(self, piece: Evidence) -> None:
        """Raises: ValueError if the evidence objects to the right package."""
        self._piece, self._seen, started = piece, Counter(), time.perf_counter()
        sys.setprofile(self._look)
        try:
            objection = objection_of(piece)
        finally:
            sys.setprofile(None)
        if objection:
            raise ValueError(f"{key_of(piece)}: expected no objection to the right package, but it {objection}")
        self.seconds[key_of(piece)] = time.perf_counter() - started
        for name in dict.fromkeys(name for name, _ in self._seen):
            self.evidence[name].append(piece)

    def _look(self, frame: Any, event: str, _: Any) -> None:
        if event == "call" and id(frame.f_code) in self._owner:
            name, code = self._owner[id(frame.f_code)]
            self._seen[name, code.co_qualname] += 1
            if self._seen[name, code.co_qualname] <= SEEN:
                self.callers[name] |= self._public_above(frame) if private(name) else set()
                arguments = arguments_of(frame) if len(self.calls[name]) < KEPT else None
                self.calls[name] += [Call(name, "<locals>" in code.co_qualname, arguments)] if arguments is not None else []

    def _public_above(self, frame: Any) -> set[str]:
        """The nearest public function of the theory that a call comes from; nothing if it comes from elsewhere."""
        while (frame := frame.f_back) is not None:
            name, _ = self._owner.get(id(frame.f_code), ("_", None))
            if not private(name):
                return {name}
        return set()

    def add_constants(self) -> None:
        """What reaches a constant is what reaches a function that looks it up."""
        for module, name in ((module, name) for module in MODULES for name in targets(module)):
            if function_of(module, name) is None:
                users = [user for user, function in self.functions.items() if name in function.__globals__
                         and any(name in code.co_names for code in codes_of(function.__code__))]
                constant = f"{module}.{name}"
                self.evidence[constant] = list({key_of(one): one for user in users for one in self.evidence[user]}.values())
                self.callers[constant] = {public for user in users for public in (self.callers[user] if private(user) else {user})}
                self.calls[constant] = []


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


def private(name: str) -> bool:
    """The name of what no other module calls."""
    return name.rpartition(".")[2].startswith("_")


def arguments_of(frame: Any) -> dict[str, Any] | None:
    """Copies of the arguments at the beginning of a call; None if it is under way, or takes what can be read only once."""
    code, found = frame.f_code, frame.f_locals
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    starred = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if starred or set(found) - set(names) - set(code.co_freevars) or any(hasattr(found[name], "__next__") for name in names):
        return None
    return {name: fresh(found[name]) for name in names}


def fresh(value: Any) -> Any:
    """A copy of arrays, in tuples too, and of generators of random numbers; anything else as it is."""
    if isinstance(value, tuple):
        parts = [fresh(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return copy.deepcopy(value) if isinstance(value, (np.ndarray, np.random.Generator)) else value


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
    """What is raised in evidence that takes far longer than usual; no `except Exception` takes it for an answer."""


def outcome(trace: Trace, pairs: Pairs, mutant: Mutant) -> Outcome:
    target = f"{mutant.module}.{mutant.target}"
    pieces = trace.evidence[target]
    with in_place(mutant):
        for piece in pieces:
            try:
                with limited(PATIENCE + SLOWER * trace.seconds[key_of(piece)]):
                    how = objection_of(piece)
            except Hangs:
                how = "hangs"
            if how:
                return Outcome(piece.kind, piece.name, how)
    return Outcome("", "", "", *difference(mutant, [*on_cases(pairs, pieces), *on_calls(trace, target)]))


def objection_of(piece: Evidence) -> str:
    """"objects" if the answer is that something is wrong, "raises" if there is none, and "" if all is right."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "objects" if piece.objects() else ""
    except Exception:
        return "raises"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises: Hangs, in the block, when the time is over."""
    def over(*_: Any) -> None:
        raise Hangs

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# -- a survivor beside the right function ------------------------------------------------------------------------------

Way = tuple[str, Callable[[], Any]]


def difference(mutant: Mutant, ways: list[Way]) -> tuple[float, str]:
    """The largest change that the mutant makes in one of the ways to ask, and which way that is; NaN if there is none."""
    right = [answer(ask) for _, ask in ways]
    with in_place(mutant):
        changes = [(apart(was, answer(ask)), name) for was, (name, ask) in zip(right, ways)]
    return max(changes, default=(float("nan"), "never called"), key=lambda change: change[0])


def on_cases(pairs: Pairs, pieces: list[Evidence]) -> list[Way]:
    """The pairs among the evidence, on their cases."""
    return [(f"pair {piece.name}, case {i}", partial(of_pair, pairs[piece.name][0], *case))
            for piece in pieces if piece.kind == "adjoint" for i, case in enumerate(pairs[piece.name][1])]


def of_pair(pair: gradcheck.Pair, arguments: tuple[Any, ...], fixed: dict[str, Any]) -> Any:
    """The value of f and of f_vjp, and the pullback of random numbers."""
    arguments, fixed = fresh(arguments), {name: fresh(value) for name, value in fixed.items()}
    return pair.f(*arguments, **fixed), pulled(pair.f_vjp(*arguments, **fixed))


def on_calls(trace: Trace, target: str) -> list[Way]:
    """The recorded calls of a target, or where it has them of the public functions above it, to be made again."""
    calls = [call for name in sorted(trace.callers[target]) for call in trace.calls[name]] or trace.calls[target]
    return [(f"a call of {call.owner}", partial(called, trace.functions[call.owner], call.arguments, [
        other.arguments for other in trace.calls[call.owner] if other.inside])) for call in calls if not call.inside]


def called(function: Any, arguments: dict[str, Any], inner: list[dict[str, Any]]) -> Any:
    """The value; with the pullback of random numbers; of a generator what it yields; of a function its values."""
    names = function.__code__.co_varnames[:function.__code__.co_argcount]
    positional = [fresh(arguments[name]) for name in names]
    value = function(*positional, **{name: fresh(value) for name, value in arguments.items() if name not in names})
    if hasattr(value, "__next__"):
        return [fresh(part) for part in itertools.islice(value, 100)]
    if callable(value):
        return [answer(partial(value, **{name: fresh(part) for name, part in given.items()})) for given in inner]
    return pulled(value)


def pulled(value: Any) -> Any:
    """For (value, pullback) the value and what the pullback makes of random numbers; anything else as it is."""
    if isinstance(value, tuple) and len(value) == 2 and callable(value[1]):
        return value[0], value[1](gradcheck.random_like(value[0], np.random.default_rng(7)))
    return value


def answer(ask: Callable[[], Any]) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(), limited(PATIENCE):
            warnings.simplefilter("ignore")
            return ask()
    except (Exception, Hangs) as error:
        return error


def apart(right: Any, other: Any) -> float:
    """The largest difference as a share of the largest entry of its part, or of what cancels in it, FLOOR of the largest of all.

    ∞ for another structure, 0 where no answer was right.
    """
    before, after = list(numbers_in(right)), list(numbers_in(other))
    if isinstance(right, BaseException):
        return 0.0
    if [part.shape for part in before] != [part.shape for part in after]:
        return float("inf")
    least = FLOOR * max(map(largest, before), default=0.0)
    return max((numbers_apart(was, now, max(largest(was), least) or 1.0) for was, now in zip(before, after)), default=0.0)


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


def numbers_apart(right: Array, other: Array, scale: float) -> float:
    """∞ where one is a number and the other is none."""
    same = (right == other) | (np.isnan(right) & np.isnan(other))
    with np.errstate(all="ignore"):
        error = np.where(same, 0.0, np.abs(right - other) / scale)
    return float(np.max(np.where(np.isfinite(error), error, np.inf), initial=0.0))


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
        sender.send(tuple(outcome(GIVEN["trace"], GIVEN["pairs"], GIVEN["mutants"][number])))
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
           ("later.decoder", "_log_mass", "(1 - np.real(near)) < 1", "(1 - np.real(near)) < 2", True),
           ("reversal", "entropy_bounds", "t - 1", "t", True),
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

def options_of(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be given more than once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--planted", action="store_true", help="only mutants whose end is known; writes no result")
    return parser.parse_args()


def main() -> int:
    options, started = options_of(__doc__), time.perf_counter()
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
