"""Claim: of random one-node changes of the theory, every one that changes a value or a gradient by more than rounding is caught
by the package's own evidence: adjoint gaps and the contract, value checks, comparisons with many digits, and clauses.

A *mutant* is one function with one node of its syntax tree changed (see `mutation`).  It is put in the place of the right function in
a forked process, and the evidence that reaches the function is asked, cheapest kind first, until some of it objects: the mutant is
killed.  What survives is compared with the right function, on the cases of the pairs that reach it and on the arguments that it was
seen to be called with: either it is equal there to 1e-9 of the largest entry, or the evidence has a gap and this claim fails.

    python validation/mutants.py [--seed 1] [--count 400] [--module gaussian] [--workers 2] [--planted]
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing.connection import Connection, wait
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
from mutation import MODULES, Mutant, codes_of, described, drawn, function_of, in_place, rewritten, shifted_constants, targets

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases, checks, matrix
from refdpm.conformance.families import FUNCTIONS, LAWS, Function, Given, Law
from refdpm.conformance.families.common import Inputs, copied
from refdpm.conformance.judge import textbook
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference
from refdpm.conformance.subject import LIMIT, UNITS, Subject, expected, ratios
from refdpm.vjp import Array

KINDS = ("adjoint", "checks", "values", "clauses")
EXAMPLES = 15                # cases of a pair, as in the audit
FEW, MANY = 40, 1000         # points of an accuracy group: first few, then as many as in the audit
ROUNDING = 1e-9              # a change below this share of the largest entry is none
PATIENCE, SLOWER = 3.0, 20   # seconds, and how many times its usual time, before evidence is said to hang
MEMORY = 4 << 30             # bytes that a mutant may use
LONGEST = 400.0              # seconds before a mutant's process is ended from outside
SEEN, KEPT = 2, 24           # calls of a function that are kept: of one piece of evidence, and of all

Catch = Callable[[], bool]


# -- the evidence --------------------------------------------------------------------------------------------------------

class Evidence(NamedTuple):
    """A named question to the package that is as it was found; `catches` says that the answer is wrong."""

    kind: str
    name: str
    catches: Catch


def evidence() -> list[Evidence]:
    """All the evidence there is, in four kinds.  This is the one place to change when there is evidence of another kind; which
    function is reached by what is found out by running it (`traced`)."""
    pairs = {pair.name: (pair, cases.examples(pair.name, count=EXAMPLES)) for pair in gradcheck.pairs(cases.PAIR_MODULES)}
    return [*(Evidence("adjoint", name, partial(breaks_the_contract, *found)) for name, found in pairs.items()),
            *(Evidence("checks", check.name, partial(fails, check)) for check in checks.CHECKS),
            *(Evidence("values", group, partial(inaccurate, group, points=FEW)) for group in accuracy.GROUPS),
            *(Evidence("clauses", function.id, partial(departs, *agreed(function))) for function in FUNCTIONS),
            *(Evidence("clauses", law.id, partial(broken, law)) for law in LAWS)]


def the_rest(name: str, kind: str) -> Catch | None:
    """What is asked after all evidence has passed: the guard and the symmetry of a pair, a group at many points."""
    if kind == "values":
        return partial(inaccurate, name, points=MANY)
    return None


def breaks_the_contract(pair: gradcheck.Pair, examples: list[cases.Case]) -> bool:
    """An adjoint gap, or a breach of the contract, the guard or the symmetry, on one of the cases."""
    def wrong(ask: Callable[..., Any], limit: float) -> bool:
        for i, (arguments, fixed) in enumerate(examples):
            found = ask(pair, arguments, fixed, np.random.default_rng(i))
            if found if isinstance(found, list) else not max(found.values()) <= limit:
                return True
        return False

    return wrong(gradcheck.gaps, gradcheck.GAP) or wrong(gradcheck.breaches, 0.0)


def fails(check: checks.Check) -> bool:
    return not checks.residual(check) <= 1


def inaccurate(group: str, *, points: int) -> bool:
    """A number of the group that is off by more than the limit; the first one ends the search."""
    found = accuracy.GROUPS[group](np.random.default_rng(accuracy.common.SEED), points)
    return any(not accuracy.units(point.got, point.exact) <= accuracy.LIMIT for point in found)


def agreed(function: Function) -> tuple[Function, list[tuple[Inputs, list[int]]]]:
    """The inputs of a quantity, with the outputs for which the textbook has the whole formula."""
    found = []
    for inputs in matrix.inputs_of(function):
        outputs = [i for i, ratio in enumerate(departures(function, inputs)) if ratio <= LIMIT]
        if outputs:
            found.append((inputs, outputs))
    return function, found


def departures(function: Function, inputs: Inputs) -> list[float]:
    """How far the textbook is from the reference for each output, in u·scale: both asked anew."""
    written = textbook(function, copied(inputs))
    if not written:
        return []
    values, scales = expected(function, copied(inputs), Profile())
    return [float(np.max(ratios(np.asarray(other, dtype=np.float64), value, scale, UNITS["float64"]), initial=0.0))
            for other, value, scale in zip(written, values, scales, strict=True)]


def departs(function: Function, examples: list[tuple[Inputs, list[int]]]) -> bool:
    """The reference of a quantity is not what the textbook's formula gives."""
    for inputs, outputs in examples:
        found = departures(function, inputs)
        if not all(found[i] <= LIMIT for i in outputs):
            return True
    return False


def broken(law: Law) -> bool:
    """The reference does not keep a law."""
    return not law.run(Subject(Reference("float64"), FUNCTIONS), Given(), 0).ratio <= 1


# -- which evidence reaches which function -----------------------------------------------------------------------------

class Call(NamedTuple):
    """Arguments that a function was seen to be called with, by name; or one inside it."""

    owner: str
    inside: bool
    arguments: dict[str, Any]


class Trace(NamedTuple):
    """By target: the evidence that reaches it, and calls of it.  By evidence: its seconds.  By name: the functions."""

    evidence: dict[str, list[Evidence]]
    calls: dict[str, list[Call]]
    seconds: dict[str, float]
    functions: dict[str, Any]


def traced(modules: tuple[str, ...], pieces: list[Evidence]) -> Trace:
    """Every piece of evidence run once on the right package, with a look at what is called.

    Raises: ValueError if one of them objects to the right package.
    """
    functions = {f"{module}.{name}": function for module in MODULES for name in targets(module)
                 if (function := function_of(module, name)) is not None}
    owner = {id(code): (name, code) for name, function in functions.items() for code in codes_of(function.__code__)}
    found, calls, seconds = {name: [] for name in functions}, {name: [] for name in functions}, {}
    for piece in pieces:
        started, reached = time.perf_counter(), Counter()
        with watched(owner, reached, calls):
            objects = caught(piece.catches)
        if objects:
            raise ValueError(f"{piece.kind} {piece.name}: expected no objection to the right package, got one")
        seconds[piece.kind + piece.name] = time.perf_counter() - started
        for name in reached:
            found[name].append(piece)
    for name, users in users_of_constants(modules, functions).items():
        found[name] = list({piece.kind + piece.name: piece for user in users for piece in found[user]}.values())
        calls[name] = [call for user in users for call in calls[user][:KEPT // len(users) + 1]]
    return Trace({name: ordered(name, some, seconds) for name, some in found.items()}, calls, seconds, functions)


@contextmanager
def watched(owner: dict[int, tuple[str, Any]], reached: Counter, calls: dict[str, list[Call]]) -> Iterator[None]:
    """Counts calls of functions by name, and keeps the arguments of some."""
    def look(frame: Any, event: str, _: Any) -> None:
        if event == "call" and id(frame.f_code) in owner:
            name, code = owner[id(frame.f_code)]
            reached[name] += 1
            inside = f"{name}/{code.co_qualname}"
            reached_inside[inside] += 1
            if reached_inside[inside] <= SEEN and len(calls[name]) < KEPT:
                arguments = arguments_of(frame)
                if arguments is not None:
                    calls[name].append(Call(name, "<locals>" in code.co_qualname, arguments))

    reached_inside: Counter = Counter()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


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


def users_of_constants(modules: tuple[str, ...], functions: dict[str, Any]) -> dict[str, list[str]]:
    """The functions that look up each constant."""
    found = {}
    for module in modules:
        for name in targets(module):
            if function_of(module, name) is None:
                found[f"{module}.{name}"] = [user for user, function in functions.items() if name in function.__globals__
                                             and any(name in code.co_names for code in codes_of(function.__code__))]
    return found


def ordered(target: str, pieces: list[Evidence], seconds: dict[str, float]) -> list[Evidence]:
    """By kind; the pair of the function first, then by what they cost."""
    pair = target.removesuffix("_vjp")
    return sorted(pieces, key=lambda piece: (KINDS.index(piece.kind), piece.name != pair, seconds[piece.kind + piece.name]))


# -- one mutant ----------------------------------------------------------------------------------------------------------

class Outcome(NamedTuple):
    """kind and by: the evidence that killed it, both empty for a survivor.  change: the largest difference from the right function,
    as a share of the largest entry; ∞ where the structure changes or it raises.  where: the call that shows it."""

    kind: str
    by: str
    change: float = 0.0
    where: str = ""
    seconds: float = 0.0


class Hangs(BaseException):
    """What is raised in evidence that takes far longer than usual; no `except Exception` takes it for an answer."""


def outcome(trace: Trace, pairs: dict[str, Any], mutant: Mutant | None) -> Outcome:
    """What becomes of a mutant; None is the right package."""
    started, target = time.perf_counter(), f"{mutant.module}.{mutant.target}" if mutant else ""
    pieces = trace.evidence[target] if mutant else [piece for piece in evidence_of(trace)]
    with in_place(mutant) if mutant else nullcontext():
        kind, by = killer(pieces, trace.seconds)
    change, where = (0.0, "") if kind or mutant is None else difference(trace, pairs, mutant, pieces)
    return Outcome(kind, by, change, where, time.perf_counter() - started)


def evidence_of(trace: Trace) -> list[Evidence]:
    return list({piece.kind + piece.name: piece for pieces in trace.evidence.values() for piece in pieces}.values())


def killer(pieces: list[Evidence], seconds: dict[str, float]) -> tuple[str, str]:
    """Kind and name of the first evidence that objects; what is asked at length comes last."""
    later = [Evidence(piece.kind, piece.name, more) for piece in pieces if (more := the_rest(piece.name, piece.kind))]
    for piece in (*pieces, *later):
        patience = PATIENCE + SLOWER * seconds[piece.kind + piece.name] * (MANY / FEW if piece in later else 1)
        try:
            with limited(patience):
                if caught(piece.catches):
                    return piece.kind, piece.name
        except Hangs:
            return piece.kind, f"{piece.name} (hangs)"
    return "", ""


def caught(catches: Catch) -> bool:
    """True if the evidence objects or raises."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return catches()
    except Exception:
        return True


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

def difference(trace: Trace, pairs: dict[str, Any], mutant: Mutant, pieces: list[Evidence]) -> tuple[float, str]:
    """The largest change that the mutant makes, and the call that shows it."""
    ways = [(f"pair {piece.name}, case {i}", partial(of_pair, pairs[piece.name][0], *case))
            for piece in pieces if piece.kind == "adjoint" for i, case in enumerate(pairs[piece.name][1])]
    ways += calls_of(trace, f"{mutant.module}.{mutant.target}")
    right = [answer(way) for _, way in ways]
    with in_place(mutant):
        changes = [(apart(was, answer(way)), name) for was, (name, way) in zip(right, ways)]
    return max(changes, default=(0.0, "never called"), key=lambda change: change[0])


def of_pair(pair: gradcheck.Pair, arguments: tuple[Any, ...], fixed: dict[str, Any]) -> Any:
    """The value of f and of f_vjp, and the pullback of random numbers."""
    arguments, fixed = fresh(arguments), {name: fresh(value) for name, value in fixed.items()}
    return pair.f(*arguments, **fixed), pulled(pair.f_vjp(*arguments, **fixed))


def calls_of(trace: Trace, target: str) -> list[tuple[str, Callable[[], Any]]]:
    """The recorded calls of a target (of those who use it, for a constant), to be made again."""
    found = []
    for i, call in enumerate(trace.calls[target]):
        if not call.inside:
            inner = [other.arguments for other in trace.calls[call.owner] if other.inside]
            found.append((f"call {i} of {call.owner}", partial(called, trace.functions[call.owner], call.arguments, inner)))
    return found


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
    """The largest difference as a share of the largest entry, parts of a structure each for itself; ∞ for another structure."""
    if isinstance(right, (Exception, Hangs)):
        return 0.0                                            # no answer was right here
    if isinstance(right, (tuple, list)):
        if not isinstance(other, (tuple, list)) or len(right) != len(other):
            return float("inf")
        return max(map(apart, right, other), default=0.0)
    if isinstance(right, (np.ndarray, np.generic, float, int, complex)):
        return arrays_apart(np.asarray(right), other)
    return 0.0


def arrays_apart(right: Array, other: Any) -> float:
    """Real and imaginary parts each for itself, for the latter may be a derivative times 1e-20."""
    if not isinstance(other, (np.ndarray, np.generic, float, int, complex)) or np.shape(other) != right.shape:
        return float("inf")
    if right.dtype.kind not in "fciub":
        return 0.0 if np.array_equal(right, other) else float("inf")
    with np.errstate(all="ignore"):
        return max(numbers_apart(part(right), part(np.asarray(other)), floor) for part, floor in ((np.real, 0.0), (np.imag, 1e-24)))


def numbers_apart(right: Array, other: Array, floor: float) -> float:
    right, other = np.asarray(right, dtype=np.float64), np.asarray(other, dtype=np.float64)
    same = (right == other) | (np.isnan(right) & np.isnan(other))
    if not np.array_equal(np.isfinite(right) | same, np.isfinite(other) | same):
        return float("inf")
    scale = np.max(np.abs(right), initial=floor, where=np.isfinite(right))
    error = np.max(np.abs(np.where(same, 0.0, right - other)), initial=0.0)
    return float(error / scale) if scale > 0 and error > 0 else float(np.inf * error) if error > 0 else 0.0


# -- many mutants --------------------------------------------------------------------------------------------------------

def outcomes(trace: Trace, pairs: dict[str, Any], mutants: list[Mutant | None], workers: int) -> list[Outcome]:
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
        found = receiver.recv() if receiver.poll() else ("crash", "takes too long")
    except EOFError:
        found = "crash", "the process died"
    if isinstance(found, str):
        raise RuntimeError(found)
    return Outcome(*found)


def child(sender: Connection, trace: Trace, pairs: dict[str, Any], mutant: Mutant | None) -> None:
    """Sends the outcome, or the text of an error in this script."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        sender.send(tuple(outcome(trace, pairs, mutant)))
    except Exception:
        sender.send(traceback.format_exc())


# -- the report ----------------------------------------------------------------------------------------------------------

def table(mutants: list[Mutant], found: list[Outcome]) -> str:
    """Module by module: how many mutants, what killed them, and what is left."""
    head = ("mutants", *KINDS, "crash", "equal", "CHANGED")
    lines = [f"{'module':24s}" + "".join(f"{name:>9s}" for name in head)]
    counts: dict[str, Counter] = {}
    for mutant, result in zip(mutants, found):
        counts.setdefault(mutant.module, Counter()).update(["mutants", verdict(result)])
    counts["all"] = sum(counts.values(), Counter())
    return "\n".join(lines + [f"{module:24s}" + "".join(f"{count[name]:9d}" for name in head) for module, count in counts.items()])


def verdict(result: Outcome) -> str:
    """The kind of what killed it, "equal" or "CHANGED"."""
    return result.kind or ("CHANGED" if result.change > ROUNDING else "equal")


def survivors(mutants: list[Mutant], found: list[Outcome], which: str) -> list[dict[str, Any]]:
    """The mutants with this verdict, as plain data."""
    return [{"module": mutant.module, "target": mutant.target, "line": mutant.line, "before": mutant.before, "after": mutant.after,
             "change": min(result.change, 1e300), "where": result.where}
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
    for mutant, result, (*_, killed) in zip(mutants, found, PLANTED):
        rows.append(row(f"{described(mutant)}: {verdict(result)} {result.by}", "killed" if killed else "equal",
                        bool(result.kind) if killed else verdict(result) == "equal"))
    return rows


# -- the whole -----------------------------------------------------------------------------------------------------------

def rows_of(mutants: list[Mutant], constants: list[Mutant], found: list[Outcome], seconds: float) -> list[dict[str, Any]]:
    """The verdicts."""
    verdicts = Counter(map(verdict, found[:len(mutants)]))
    killed = len(mutants) - verdicts["equal"] - verdicts["CHANGED"]
    by = ", ".join(f"{verdicts[kind]} by {kind}" for kind in (*KINDS, "crash") if verdicts[kind])
    alive = [described(mutant) for mutant, result in zip(constants, found[len(mutants):]) if not result.kind]
    mean = sum(result.seconds for result in found) / max(len(found), 1)
    return [row(f"{killed} of {len(mutants)} killed: {by}; {verdicts['equal']} equal on everything tried", "more than 9 in 10",
                killed > 0.9 * len(mutants)),
            row(f"{verdicts['CHANGED']} survivors change a value or a gradient", "none", not verdicts["CHANGED"]),
            row(f"{len(constants)} constants raised by 0.1; alive: {'; '.join(alive) or 'none'}", "none", not alive),
            row(f"{mean:.2f} s a mutant, {seconds:.0f} s with the tracing", "at most 1.5 s a mutant", mean <= 1.5)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be given more than once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--planted", action="store_true", help="only mutants whose end is known; writes no result")
    options = parser.parse_args()
    started, modules = time.perf_counter(), tuple(options.module or MODULES)
    mutants, total = ([rewritten(*part[:4]) for part in PLANTED], 0) if options.planted else drawn(
        modules, seed=options.seed, count=options.count)
    constants = [] if options.planted else shifted_constants(modules)
    pieces = evidence()
    trace = traced(MODULES, pieces)
    pairs = {piece.name: piece.catches.args for piece in pieces if piece.kind == "adjoint"}
    print(f"traced: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    right, *found = outcomes(trace, pairs, [None, *mutants, *constants], options.workers)
    if right.kind:
        raise ValueError(f"{right.kind} {right.by}: expected no objection to the right package, got one")
    seconds = time.perf_counter() - started
    if options.planted:
        rows = planted_rows(mutants, found)
        print("\n".join(f"{'ok ' if each['holds'] else 'NOT'}  {each['number']}" for each in rows))
        return 0 if all(each["holds"] for each in rows) else 1
    drawn_ones = found[:len(mutants)]
    print(table(mutants, drawn_ones))
    for which in ("equal", "CHANGED"):
        print(f"\n{which}:", *listed(mutants, drawn_ones, which), sep="\n")
    data = {"possible": total, "modules": {}, "survivors": survivors(mutants, drawn_ones, "CHANGED"),
            "equal": survivors(mutants, drawn_ones, "equal")}
    return conclude("mutants", claim_of(__doc__), rows_of(mutants, constants, found, seconds), seconds=seconds,
                    settings={"seed": options.seed, "count": options.count, "modules": options.module or "all"}, data=data)


if __name__ == "__main__":
    raise SystemExit(main())
