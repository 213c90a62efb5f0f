"""Claim: of random one-node changes of the theory, every one that changes a value or a gradient by more than rounding is caught
by the package's own evidence: adjoint gaps and the contract, value checks, comparisons with many digits, and clauses.

A *mutant* is one function, method or constant with one node of its syntax tree changed (`mutation`).  It is put in the place of
the right one in a forked process, and the evidence that reaches it (`evidence`) is asked, cheapest kind first, until some of it
objects: the mutant is killed.  What survives is compared with the right package, on the cases of the pairs that reach it and on the
arguments that it was seen to be called with: either nothing changes by more than 1e-9 of the largest entry, or the evidence has a
gap and this claim fails.  That nothing changes is no proof: what is equal on everything tried is listed, to be looked at.

    python validation/mutants.py [--seed 1] [--count 400] [--module gaussian] [--workers 2] [--planted]
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing.connection import Connection, wait
from types import CodeType
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
from mutation import MODULES, Mutant, codes_of, described, drawn, function_of, in_place, rewritten, shifted_constants, targets

from refdpm import gradcheck
from refdpm.vjp import Array

ROUNDING = 1e-9              # a change below this share of the largest entry is none
FLOOR = 1e-6                 # entries below this share of the largest of all are what is left of a cancellation
PATIENCE, SLOWER = 3.0, 20   # seconds, and how many times its usual time, before evidence is said to hang
LONGER = 25                  # how many times that, for a longer look
MEMORY = 4 << 30             # bytes that a mutant may use
LONGEST = 400.0              # seconds before a mutant's process is ended from outside
SEEN, KEPT = 2, 10           # calls of a function that are kept: of one piece of evidence, and of one kind
ABOVE = 50                   # calls of a private function that are followed up to the public one


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
        self._of_kind: Counter = Counter()

    def run(self, piece: Evidence) -> None:
        """Raises: ValueError if the evidence objects to the right package."""
        self._piece, self._seen, started = piece, Counter(), time.perf_counter()
        sys.setprofile(self._look)
        try:
            objection = objection_of(piece.objects)
        finally:
            sys.setprofile(None)
        if objection:
            raise ValueError(f"{piece.kind} {piece.name}: expected no objection to the right package, but it {objection}")
        self.seconds[key_of(piece)] = time.perf_counter() - started
        for name in dict.fromkeys(name for name, _ in self._seen):
            self.evidence[name].append(piece)

    def _look(self, frame: Any, event: str, _: Any) -> None:
        if event == "call" and id(frame.f_code) in self._owner:
            name, code = self._owner[id(frame.f_code)]
            self._seen[name, code.co_qualname] += 1
            if private(name) and self._seen[name, code.co_qualname] <= ABOVE:
                self.callers[name] |= self._public_above(frame)
            if self._seen[name, code.co_qualname] <= SEEN and self._of_kind[name, self._piece.kind] < KEPT:
                self._keep(name, code, frame)

    def _keep(self, name: str, code: CodeType, frame: Any) -> None:
        arguments = arguments_of(frame)
        if arguments is not None:
            self.calls[name].append(Call(name, "<locals>" in code.co_qualname, arguments))
            self._of_kind[name, self._piece.kind] += 1

    def _public_above(self, frame: Any) -> set[str]:
        """The nearest public function of the theory that a call comes from; nothing if it comes from elsewhere."""
        while (frame := frame.f_back) is not None:
            name, _ = self._owner.get(id(frame.f_code), ("_", None))
            if not private(name):
                return {name}
        return set()

    def add_constants(self) -> None:
        """What reaches a constant is what reaches a function that looks it up."""
        for name, users in users_of_constants(self.functions).items():
            self.evidence[name] = list({key_of(piece): piece for user in users for piece in self.evidence[user]}.values())
            self.calls[name] = [call for user in users for call in self.calls[user]]
            self.callers[name] = {caller for user in users for caller in (self.callers[user] if private(user) else {user})}


def traced(pieces: list[Evidence]) -> Trace:
    """Every piece of evidence run once, and for every target the order in which it will be asked."""
    trace = Trace()
    for piece in pieces:
        trace.run(piece)
    trace.add_constants()
    for name, reaching in trace.evidence.items():
        trace.evidence[name] = ordered(name, reaching, trace.seconds)
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


def users_of_constants(functions: dict[str, Any]) -> dict[str, list[str]]:
    """The functions that look up each constant."""
    found = {}
    for module in MODULES:
        for name in targets(module):
            if function_of(module, name) is None:
                found[f"{module}.{name}"] = [user for user, function in functions.items() if name in function.__globals__
                                             and any(name in code.co_names for code in codes_of(function.__code__))]
    return found


def ordered(target: str, pieces: list[Evidence], seconds: dict[str, float]) -> list[Evidence]:
    """By kind; the pair of the function first, then by what they cost."""
    pair = target.removesuffix("_vjp")
    return sorted(pieces, key=lambda piece: (KINDS.index(piece.kind), piece.name != pair, seconds[key_of(piece)]))


# -- one mutant ----------------------------------------------------------------------------------------------------------

class Outcome(NamedTuple):
    """What became of a mutant.

    kind, by   the evidence that killed it, both empty for a survivor; how: "objects", "raises" or "hangs"
    change     the largest difference from the right package that a survivor makes to a public function, as a share of the largest
               entry; ∞ where the structure changes or it raises; NaN if it is never called.  where: the call that shows it
    inside     the same for the function itself, if it is private
    """

    kind: str
    by: str
    how: str = ""
    change: float = 0.0
    where: str = ""
    inside: float = 0.0
    seconds: float = 0.0


class Hangs(BaseException):
    """What is raised in evidence that takes far longer than usual; no `except Exception` takes it for an answer."""


def outcome(trace: Trace, pairs: Pairs, mutant: Mutant | None) -> Outcome:
    """What becomes of a mutant; None is the right package."""
    started, target = time.process_time(), f"{mutant.module}.{mutant.target}" if mutant else ""
    pieces = trace.evidence[target] if mutant else everything(trace)
    with in_place(mutant) if mutant else nullcontext():
        found = Outcome(*killer(pieces, trace.seconds))
    if mutant and not found.kind:
        change, where = difference(mutant, [*on_cases(pairs, pieces), *on_calls(trace, target, public=True)])
        inside = difference(mutant, on_calls(trace, target, public=False))[0]
        found = found._replace(change=change, where=where, inside=inside)
    return found._replace(seconds=time.process_time() - started)


def everything(trace: Trace) -> list[Evidence]:
    return list({key_of(piece): piece for pieces in trace.evidence.values() for piece in pieces}.values())


def killer(pieces: list[Evidence], seconds: dict[str, float]) -> tuple[str, str, str]:
    """Kind and name of the first evidence that objects, and how; ."""
    questions = [(piece, piece.objects, 1) for piece in pieces]
    for piece, question, longer in questions:
        try:
            with limited(PATIENCE + SLOWER * longer * seconds[key_of(piece)]):
                how = objection_of(question)
        except Hangs:
            how = "hangs"
        if how:
            return piece.kind, piece.name, how
    return "", "", ""


def objection_of(question: Callable[[], bool]) -> str:
    """"objects" if the answer is that something is wrong, "raises" if there is none, and "" if all is right."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "objects" if question() else ""
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
    right = [answer(way) for _, way in ways]
    with in_place(mutant):
        changes = [(apart(was, answer(way)), name) for was, (name, way) in zip(right, ways)]
    return max(changes, default=(float("nan"), "never called"), key=lambda change: change[0])


def on_cases(pairs: Pairs, pieces: list[Evidence]) -> list[Way]:
    """The pairs among the evidence, on their cases."""
    return [(f"pair {piece.name}, case {i}", partial(of_pair, pairs[piece.name][0], *case))
            for piece in pieces if piece.kind == "adjoint" for i, case in enumerate(pairs[piece.name][1])]


def of_pair(pair: gradcheck.Pair, arguments: tuple[Any, ...], fixed: dict[str, Any]) -> Any:
    """The value of f and of f_vjp, and the pullback of random numbers."""
    arguments, fixed = fresh(arguments), {name: fresh(value) for name, value in fixed.items()}
    return pair.f(*arguments, **fixed), pulled(pair.f_vjp(*arguments, **fixed))


def on_calls(trace: Trace, target: str, *, public: bool) -> list[Way]:
    """The recorded calls of a target (of those who use it, for a constant), to be made again.

    With `public`, of the public functions above it; where there are none, it is asked itself.
    """
    above = trace.callers[target] if public else set()
    calls = [call for name in sorted(above) for call in trace.calls[name]] or trace.calls[target]
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
        rng = np.random.default_rng(7)
        return value[0], value[1](noise_like(value[0], rng))
    return value


def noise_like(tree: Any, rng: np.random.Generator) -> Any:
    """Random numbers in the structure of a tree, without a function of the package."""
    if isinstance(tree, tuple):
        parts = [noise_like(part, rng) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return rng.standard_normal(np.shape(tree))


def answer(way: Callable[[], Any]) -> Any:
    """What a call gives, or the exception that it raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(), limited(PATIENCE):
            warnings.simplefilter("ignore")
            return way()
    except (Exception, Hangs) as error:
        return error


def apart(right: Any, other: Any) -> float:
    """The largest difference as a share of the largest entry; ∞ for another structure.

    Every part of a structure is measured by itself, real and imaginary parts too (the latter may be a derivative times 1e-20); but
    what is below FLOOR of the largest entry of all is left of terms that cancel, and is measured by that.
    """
    if isinstance(right, (Exception, Hangs)):
        return 0.0                                            # no answer was right here
    before, after = list(numbers_in(right)), list(numbers_in(other))
    if [part.shape for part in before] != [part.shape for part in after]:
        return float("inf")
    both = [[part(array) for array in arrays] for arrays in zip(before, after) for part in (np.real, np.imag)]
    scales = [largest(was) for was, _ in both]
    floors = FLOOR * max(scales[::2], default=0.0), 1e-20 * FLOOR + FLOOR * max(scales[1::2], default=0.0)
    return max((numbers_apart(was, now, max(scale, floors[i % 2])) for i, ((was, now), scale) in enumerate(zip(both, scales))),
               default=0.0)


def numbers_in(tree: Any) -> Iterator[Array]:
    """The numbers of an answer, as arrays, from left to right; a mark of its kind for what is no number."""
    if isinstance(tree, (tuple, list)):
        yield np.zeros((0, len(tree)))
        for part in tree:
            yield from numbers_in(part)
    elif isinstance(tree, (np.ndarray, np.generic, float, int, complex)) and np.asarray(tree).dtype.kind in "fciub":
        yield np.asarray(tree) * 1.0
    elif isinstance(tree, BaseException):
        yield np.zeros((0, 0, 0))


def largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0, where=np.isfinite(x)))


def numbers_apart(right: Array, other: Array, scale: float) -> float:
    """∞ where one is a number and the other is none."""
    same = (right == other) | (np.isnan(right) & np.isnan(other))
    if not np.array_equal(np.isfinite(right) | same, np.isfinite(other) | same):
        return float("inf")
    with np.errstate(all="ignore"):
        error = largest(np.where(same, 0.0, right - other))
    return error / scale if scale > 0 else error * float("inf") if error > 0 else 0.0


# -- many mutants --------------------------------------------------------------------------------------------------------

def outcomes(trace: Trace, pairs: Pairs, mutants: list[Mutant | None], workers: int) -> list[Outcome]:
    """The outcome of each, every one in a process of its own, `workers` of them at a time."""
    fork, todo = multiprocessing.get_context("fork"), list(enumerate(mutants))[::-1]
    running: dict[Connection, tuple[int, Any, float]] = {}
    found: dict[int, Outcome] = {}
    while todo or running:
        while todo and len(running) < workers:
            number, mutant = todo.pop()
            receiver, sender = fork.Pipe(duplex=False)
            process = fork.Process(target=child, args=(sender, trace, pairs, mutant))
            process.start()
            sender.close()
            running[receiver] = number, process, time.perf_counter()
        for receiver in finished(running):
            number, process, _ = running.pop(receiver)
            found[number] = received(receiver)
            process.kill()
            process.join()
            if number % 50 == 0:
                print(f"{len(found)}/{len(mutants)}", file=sys.stderr)
    return [found[number] for number in range(len(mutants))]


def finished(running: dict[Connection, tuple[int, Any, float]]) -> list[Any]:
    """The pipes on which something came or that were closed, and those of processes that have taken too long."""
    ready = wait(list(running), timeout=1.0)
    return [*ready, *(pipe for pipe, (_, _, started) in running.items()
                      if pipe not in ready and time.perf_counter() - started > LONGEST)]


def received(receiver: Connection) -> Outcome:
    """What the process sent; a process that died without a word, or was too slow, has killed its mutant.

    Raises: RuntimeError with the error in this script that the process met.
    """
    try:
        found = receiver.recv() if receiver.poll() else ("crash", "", "takes too long")
    except EOFError:
        found = "crash", "", "the process died"
    if isinstance(found, str):
        raise RuntimeError(found)
    return Outcome(*found)


def child(sender: Connection, trace: Trace, pairs: Pairs, mutant: Mutant | None) -> None:
    """Sends the outcome, or the text of an error in this script."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        sender.send(tuple(outcome(trace, pairs, mutant)))
    except Exception:
        sender.send(traceback.format_exc())


# -- the report ----------------------------------------------------------------------------------------------------------

SURVIVING = {"equal": "equal on everything tried", "inside": "a private function changes, no public one that calls it",
             "unasked": "no evidence reaches it", "CHANGED": "a value or a gradient changes, and nothing objects"}


def verdict(result: Outcome) -> str:
    """The kind of what killed it, or one of `SURVIVING`."""
    if result.kind:
        return result.kind
    if np.isnan(result.change):
        return "unasked"
    return "CHANGED" if result.change > ROUNDING else "inside" if result.inside > ROUNDING else "equal"


def counted(mutants: list[Mutant], found: list[Outcome]) -> dict[str, Counter]:
    """Module by module, and for all: how many mutants, what killed them, and what is left."""
    counts: dict[str, Counter] = {}
    for mutant, result in zip(mutants, found):
        counts.setdefault(mutant.module, Counter()).update(["mutants", verdict(result), result.how])
    return counts | {"all": sum(counts.values(), Counter())}


def table(counts: dict[str, Counter]) -> str:
    """The counts as text; under "raises" are those of the killed that give no answer at all."""
    head = ("mutants", *KINDS, "crash", "raises", *SURVIVING)
    return "\n".join([f"{'module':24s}" + "".join(f"{name:>9s}" for name in head)]
                     + [f"{module:24s}" + "".join(f"{count[name]:9d}" for name in head) for module, count in counts.items()])


def survivors(mutants: list[Mutant], found: list[Outcome], which: str) -> list[dict[str, Any]]:
    """The mutants with this verdict, as plain data; a number that JSON does not have is given as text."""
    return [{"module": mutant.module, "target": mutant.target, "line": mutant.line, "before": mutant.before, "after": mutant.after,
             "change": result.change if np.isfinite(result.change) else str(result.change), "where": result.where}
            for mutant, result in zip(mutants, found) if verdict(result) == which]


def listed(mutants: list[Mutant], found: list[Outcome], which: str) -> list[str]:
    """The mutants with this verdict, one a line."""
    return [f"  {described(mutant)}   [{result.change:.1e}, {result.where}]"
            for mutant, result in zip(mutants, found) if verdict(result) == which]


# -- mutants whose end is known ------------------------------------------------------------------------------------------

PLANTED = (("gaussian", "posterior", "beta * v / w", "beta * v / (w * 1.001)", True),
           ("gaussian", "kl_vjp", "delta / p.var + r * r", "delta / p.var + r", True),
           ("binomial", "posterior_vjp", "posterior(", "marginal(", True),
           ("bound", "step_kl_vjp", "dx_t_posterior + dx_t_reverse", "dx_t_posterior", True),
           ("layers.conv", "_turn", "::-1, ::-1", "::-1, :", True),
           ("sample", "sample", "end[-1]", "end[-1] - 1", True),
           ("likelihood", "log_weights", "noise[t - 1]", "noise[t - 2]", True),
           ("networks.swiss_roll", "_spread_out", "len(chosen) < count", "len(chosen) >= 0", True),
           ("vjp", "unbroadcast", "dx.shape == shape", "dx.shape != shape", True),
           ("gaussian", "LOG_2PI", "float(np.log(2 * np.pi))", "float(np.log(2 * np.pi)) + 0.1", True),
           ("gaussian", "forward", "np.sqrt(1 - beta) * x_prev", "x_prev * np.sqrt(1 - beta)", False),
           ("gaussian", "_log_excess", "np.real(delta) < 1", "np.real(delta) <= 1", False))


def planted_rows(mutants: list[Mutant], found: list[Outcome]) -> list[dict[str, Any]]:
    """Each as it was expected to end."""
    rows = []
    for mutant, result, (*_, killed) in zip(mutants, found, PLANTED, strict=True):
        rows.append(row(f"{described(mutant)}: {verdict(result)} {result.by}", "killed" if killed else "equal",
                        bool(result.kind) if killed else verdict(result) == "equal"))
    return rows


# -- the whole -----------------------------------------------------------------------------------------------------------

def rows_of(counts: Counter, unasked: list[str], constants: list[Mutant], found: list[Outcome], seconds: float
            ) -> list[dict[str, Any]]:
    """The verdicts, from the counts of all modules and from what became of the constants and of all mutants."""
    alive = [described(mutant) for mutant, result in zip(constants, found[counts["mutants"]:]) if not result.kind]
    killed = sum(counts[kind] for kind in (*KINDS, "crash"))
    by = ", ".join(f"{counts[kind]} by {kind}" for kind in (*KINDS, "crash") if counts[kind])
    mean = sum(result.seconds for result in found) / max(len(found), 1)
    return [row(f"{killed} of {counts['mutants']} killed: {by}; {counts['raises']} of them raise; {counts['equal']} are equal on "
                f"everything tried, {counts['inside']} change a private function only, {counts['unasked']} are not asked",
                "more than 9 in 10", killed > 0.9 * counts["mutants"]),
            row(f"{counts['CHANGED']} survivors change a value or a gradient", "none", not counts["CHANGED"]),
            row(f"of {len(MODULES)} modules no evidence reaches: {', '.join(unasked) or 'nothing'}", "nothing", not unasked),
            row(f"{len(constants)} constants raised by 0.1; alive: {'; '.join(alive) or 'none'}", "none", not alive),
            row(f"{mean:.2f} s of one core a mutant, {seconds:.0f} s in all", "at most 1.5 s a mutant", mean <= 1.5)]


def options_of(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be given more than once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--planted", action="store_true", help="only mutants whose end is known; writes no result")
    return parser.parse_args()


def judged(mutants: list[Mutant], workers: int) -> tuple[list[Outcome], list[str]]:
    """What becomes of each mutant; and all targets that no evidence reaches.

    Raises: ValueError if some evidence objects to the right package.
    """
    pairs = drawn_cases()
    trace = traced(evidence(pairs))
    right, *found = outcomes(trace, pairs, [None, *mutants], workers)
    if right.kind:
        raise ValueError(f"{right.kind} {right.by}: expected no objection to the right package, but it {right.how}")
    return found, [name for name, pieces in trace.evidence.items() if not pieces]


def planted(workers: int) -> int:
    """The planted mutants, one a line.  Returns the exit code."""
    mutants = [rewritten(*part[:4]) for part in PLANTED]
    rows = planted_rows(mutants, judged(mutants, workers)[0])
    print(*(f"{'ok ' if each['holds'] else 'NOT'}  {each['number']}" for each in rows), sep="\n")
    return 0 if all(each["holds"] for each in rows) else 1


def main() -> int:
    options, started = options_of(__doc__), time.perf_counter()
    if options.planted:
        return planted(options.workers)
    modules = tuple(options.module or MODULES)
    mutants, possible = drawn(modules, seed=options.seed, count=options.count)
    constants = shifted_constants(modules)
    found, unasked = judged([*mutants, *constants], options.workers)
    counts = counted(mutants, found)
    print(table(counts))
    for which, meaning in SURVIVING.items():
        print(f"\n{which}: {meaning}", *listed(mutants, found, which), sep="\n")
    data = {"possible": possible, "unasked_targets": unasked, "counts": counts,
            **{which: survivors(mutants, found, which) for which in SURVIVING}}
    seconds = time.perf_counter() - started
    return conclude("mutants", claim_of(__doc__), rows_of(counts["all"], unasked, constants, found, seconds), seconds=seconds,
                    settings={"seed": options.seed, "count": options.count, "modules": options.module or "all"}, data=data)


if __name__ == "__main__":
    raise SystemExit(main())
