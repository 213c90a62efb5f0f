"""The audit: every gradient against the complex step, values and pullbacks against the textbook's digits, every mistake planted.

The last parts audit the checks themselves.  A mistake that no check of its kind catches is a survivor, and a survivor fails
the audit just as a wrong gradient does; a clause that sees no mistake could not fail; and of every formula of the textbook the
edits are counted that the clause on it would let pass in single precision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases, checks, detection, matrix, power
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.mistakes import MISTAKES
from refdpm.workers import Map, Workers, mapping, undisturbed

GUARDED = 3                     # one case in so many is guarded by differences, which take as long as all the rest


def run(*, thorough: bool = False, tell: Callable[[str], None] = lambda text: None, workers: Workers = 1) -> dict[str, Any]:
    """The whole audit, the same for any number of workers.

    Keys: pairs (name, argument, gap), worst_gap, breaches (of the contract, the guard or the symmetry), accuracy (name, units,
    where), worst_units, checks (name, residual in units of its tolerance), mistakes (planted, caught, survivors, by),
    matrix (mistake → the clauses of the kit that see it), idle_clauses (that see none), edits (made, unseen: by quantity), ok.
    """
    with mapping(workers) as each:
        tell("gradients …")
        rows, breaches = gradients(count=200 if thorough else cases.LIMIT, each=each)
        tell("values …")
        values = [value for some in each(partial(_values, thorough), list(accuracy.BOOK)) for value in some]
        residuals = dict(zip((check.name for check in checks.CHECKS), each(_residual, range(len(checks.CHECKS)))))
        tell("clauses …")
        seen = matrix.matrix(each)
        idle = matrix.idle(seen)
        tell("edits …")
        found = dict(zip((quantity.id for quantity in QUANTITIES), each(_power, range(len(QUANTITIES)))))
        tell("mistakes …")
        numbers = [number for number, mistake in enumerate(MISTAKES) if mistake.kind != "clause"]
        planted = dict(zip((MISTAKES[number].id for number in numbers), each(_caught_by, numbers)))
    caught = {mistake.id: planted[mistake.id] if mistake.id in planted else seen.get(mistake.id, []) for mistake in MISTAKES}
    survivors = [name for name, by in caught.items() if not by]
    worst_gap = max(row["gap"] for row in rows)
    worst_units = max(value.units for value in values)
    ok = (worst_gap <= gradcheck.GAP and not breaches and worst_units <= accuracy.LIMIT and not survivors and not idle
          and all(residual <= 1 for residual in residuals.values()))
    return {"ok": ok, "pairs": rows, "worst_gap": worst_gap, "breaches": breaches,
            "accuracy": [value._asdict() | {"units": _finite(value.units)} for value in values],
            "worst_units": _finite(worst_units),
            "checks": [{"name": name, "residual": _finite(residual)} for name, residual in residuals.items()],
            "mistakes": {"planted": len(caught), "caught": len(caught) - len(survivors), "survivors": survivors, "by": caught},
            "matrix": seen, "idle_clauses": idle,
            "edits": {"made": sum(one.edits for one in found.values()),
                      "unseen": {id: one.unseen for id, one in found.items() if one.unseen}}}


# -- one piece of it each, by what can be sent to another process ------------------------------------------------------

@undisturbed()
def _values(thorough: bool, name: str) -> list[accuracy.Accuracy]:
    return accuracy.accuracy(thorough, names=(name,))


@undisturbed()
def _residual(number: int) -> float:
    return checks.residual(checks.CHECKS[number])


@undisturbed()
def _power(number: int) -> power.Power:
    return power.power(QUANTITIES[number])


@undisturbed()
def _caught_by(number: int) -> list[str]:
    return detection.caught_by(MISTAKES[number])


def gradients(*, count: int, each: Map = map) -> tuple[list[dict[str, Any]], list[str]]:
    """The worst adjoint gap of every pair and argument over `count` cases, and every breach of the contract."""
    rows, breaches = [], set()
    for found, broken in each(partial(_gradients_of, count), [pair.name for pair in gradcheck.pairs(cases.PAIR_MODULES)]):
        rows += found
        breaches |= broken
    return rows, sorted(breaches)


@undisturbed()
def _gradients_of(count: int, name: str) -> tuple[list[dict[str, Any]], set[str]]:
    """Those of one pair."""
    if name not in cases.CASES:
        return [], {f"{name}: has no cases"}
    pair, = (pair for pair in gradcheck.pairs((name.rpartition(".")[0],)) if pair.name == name)
    worst, breaches, rng = dict.fromkeys(gradcheck.argument_names(pair.f), 0.0), set(), np.random.default_rng(0)
    for number, (arguments, fixed) in enumerate(cases.examples(name, count=count)):
        for argument, gap in gradcheck.gaps(pair, arguments, fixed, rng).items():
            worst[argument] = max(worst[argument], _finite(gap))
        broken = gradcheck.breaches(pair, arguments, fixed, rng, guard=number % GUARDED == 0)
        breaches |= {f"{name}: {breach}" for breach in broken}
    return [{"name": name, "argument": argument, "gap": gap} for argument, gap in worst.items()], breaches


def _finite(x: float) -> float:
    """Not a number, or infinite, as a large number that JSON can hold."""
    return float(x) if np.isfinite(x) else 1e300


def render(report: dict[str, Any]) -> str:
    """The report as text: worst first in each part, then the verdict."""
    gaps = sorted(report["pairs"], key=lambda row: -row["gap"])
    units = sorted(report["accuracy"], key=lambda row: -row["units"])
    lines = [f"gradients: {len(gaps)} arguments, adjoint gap at most {gradcheck.GAP:g}"]
    lines += [f"  {row['gap']:8.1e}  {row['name']}  {row['argument']}" for row in gaps]
    lines += [f"  breach: {breach}" for breach in report["breaches"]]
    lines += ["", f"values and pullbacks: error in units of u·scale against the textbook's digits, at most {accuracy.LIMIT:g}"]
    lines += [f"  {row['units']:8.2f}  {row['name']}   {row['where']}" for row in units]
    lines += ["", "values against oracles: residual in units of the tolerance"]
    residuals = sorted(report["checks"], key=lambda row: -row["residual"])
    lines += [f"  {row['residual']:8.1e}  {row['name']}" for row in residuals]
    lines += ["", f"mistakes: {report['mistakes']['planted']} planted, {report['mistakes']['caught']} caught"]
    for mistake in MISTAKES:
        by = report["mistakes"]["by"][mistake.id]
        lines.append(f"  {mistake.id:12s} {mistake.says}\n{'':15s}{'caught by ' + ', '.join(by[:3]) if by else 'SURVIVES'}"
                     + (f" and {len(by) - 3} more" if len(by) > 3 else ""))
    lines += ["", f"clauses × mistakes: {len(report['matrix'])} mistakes are seen by clauses of the kit"]
    lines += [f"  {mistake:15s} {', '.join(seen[:4])}" + (f" and {len(seen) - 4} more" if len(seen) > 4 else "")
              for mistake, seen in report["matrix"].items()]
    lines += [f"  sees no mistake: {clause}" for clause in report["idle_clauses"]]
    edits = report["edits"]
    lines += ["", f"edits of the textbook: {edits['made']}; float32 does not tell apart {sum(map(len, edits['unseen'].values()))}"]
    lines += [f"  {id:15s} {says}" for id, unseen in edits["unseen"].items() for says in unseen]
    lines += ["", f"worst gap {report['worst_gap']:.1e}, worst value {report['worst_units']:.2f} units, "
                  f"{len(report['mistakes']['survivors'])} survivors: {'ok' if report['ok'] else 'NOT OK'}"]
    return "\n".join(lines)
