"""The conformance kit: somebody else's implementation beside this one, and this one beside its own textbook.

    from refdpm.conformance import check, clauses

    report = check(my_module)                                          # a dict, as `refdpm check --json` prints it

    @pytest.mark.parametrize("clause", clauses(my_module))             # in pytest: one test for each clause
    def test_my_diffusion(clause):
        clause.check()

What the kit consists of, in the order in which it is built:

    adapter, profile, precision           what is asked, in whose conventions, and how exactly
    in_textbook, planting                 a call of this package as formulas; how a mistake is planted
    chapters                              topic by topic, what an implementation is asked for, and what people got wrong
    cases, accuracy, checks, mistakes     this package's own proof; `audit` runs it
    subject, inference, naming, judge     asking, understanding, judging, and naming the mistake
    session, matrix, power                a whole check; which clause sees which mistake, and which edit
    report, junit, page, annotations      what is printed, and written for others
    known, wire, remote, serve, keeper    interfaces that exist, and adapters in other processes
    vectors                               the same for other languages, as files
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refdpm.conformance.adapter import Model
    from refdpm.conformance.judge import Effort
    from refdpm.conformance.profile import Profile
    from refdpm.conformance.reference import Reference
    from refdpm.conformance.session import Clause, Session, check, clauses

_HOMES = {"check": "session", "clauses": "session", "Clause": "session", "Session": "session", "Effort": "judge",
          "Profile": "profile", "Reference": "reference", "Model": "adapter"}
__all__ = ["Clause", "Effort", "Model", "Profile", "Reference", "Session", "check", "clauses"]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: the parts of the kit do not wait for all of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
