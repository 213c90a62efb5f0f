"""The reference in brief, before it judges others: a case of every gradient, and itself through the kit in float32."""

from typing import Any

from refdpm import gradcheck
from refdpm.conformance import audit, session
from refdpm.conformance.judge import Effort
from refdpm.conformance.profile import Profile
from refdpm.conformance.reference import Reference


def run() -> dict[str, Any]:
    """Keys: ok, worst_gap, pairs, breaches, clauses (by verdict)."""
    rows, breaches = audit.gradients(count=1)
    worst_gap = max(row["gap"] for row in rows)
    own = session.check(Reference("float32"), effort=Effort(max_examples=2), profile=Profile().stated())
    ok = worst_gap <= gradcheck.GAP and not breaches and own["exit_code"] == 0
    pairs = len({row["name"] for row in rows})
    return {"ok": ok, "worst_gap": worst_gap, "pairs": pairs, "breaches": breaches, "clauses": own["summary"]}


def render(found: dict[str, Any]) -> str:
    """In a line."""
    clauses = ", ".join(f"{number} {verdict}" for verdict, number in found["clauses"].items())
    return (f"The reference: {found['pairs']} gradients, adjoint gap at most {found['worst_gap']:.1e}; "
            f"its own clauses in float32: {clauses}: {'ok' if found['ok'] else 'NOT OK'}")
