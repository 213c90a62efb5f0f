"""The audit: every gradient against the complex step, values and pullbacks against the textbook's digits, every mistake planted.

The last parts audit the checks themselves.  A mistake that no check of its kind catches is a survivor, and a survivor fails
the audit just as a wrong gradient does; a clause that sees no mistake could not fail; and of every formula of the textbook the
edits are counted that the clause on it would let pass in single precision.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from refdpm import gradcheck
from refdpm.conformance import accuracy, cases, checks, detection, matrix, power
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.mistakes import MISTAKES

GUARDED = 3                     # one case in so many is guarded by differences, which take as long as all the rest


def run(*, thorough: bool = False, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The whole audit.

    Keys: pairs (name, argument, gap), worst_gap, breaches (of the contract, the guard or the symmetry), accuracy (name, units,
    where), worst_units, checks (name, residual in units of its tolerance), mistakes (planted, caught, survivors, by),
    matrix (mistake → the clauses of the kit that see it), idle_clauses (that see none), edits (made, unseen: by quantity), ok.
    """
    tell("gradients …")
    rows, breaches = gradients(count=200 if thorough else cases.LIMIT)
    tell("values …")
    values = accuracy.accuracy(thorough)
    residuals = {check.name: checks.residual(check) for check in checks.CHECKS}
    tell("clauses …")
    seen = matrix.matrix()
    idle = matrix.idle(seen)
    tell("edits …")
    found = {quantity.id: power.power(quantity) for quantity in QUANTITIES}
    tell("mistakes …")
    caught = {mistake.id: seen.get(mistake.id, []) if mistake.kind == "clause" else detection.caught_by(mistake)
              for mistake in MISTAKES}
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


def gradients(*, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The worst adjoint gap of every pair and argument over `count` cases, and every breach of the contract."""
    rows, breaches = [], []
    found = list(gradcheck.pairs(cases.PAIR_MODULES))
    breaches += [f"{pair.name}: has no cases" for pair in found if pair.name not in cases.CASES]
    for pair in found:
        worst = dict.fromkeys(gradcheck.argument_names(pair.f), 0.0)
        rng = np.random.default_rng(0)
        for number, (arguments, fixed) in enumerate(cases.examples(pair.name, count=count) if pair.name in cases.CASES else ()):
            for name, gap in gradcheck.gaps(pair, arguments, fixed, rng).items():
                worst[name] = max(worst[name], _finite(gap))
            broken = gradcheck.breaches(pair, arguments, fixed, rng, guard=number % GUARDED == 0)
            breaches += [f"{pair.name}: {breach}" for breach in broken]
        rows += [{"name": pair.name, "argument": name, "gap": gap} for name, gap in worst.items()]
    return rows, sorted(set(breaches))


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
