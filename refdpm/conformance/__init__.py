"""The conformance kit: somebody else's implementation beside this one, and this one beside itself.

    from refdpm.conformance import check, clauses

    report = check(my_module)                                          # a dict, as `refdpm check --json` prints it

    @pytest.mark.parametrize("clause", clauses(my_module))             # in pytest: one test for each clause
    def test_my_diffusion(clause):
        clause.check()

What the kit consists of, in the order in which it is built:

    mistakes, checks, accuracy, cases     this package's own proof; `audit` runs it
    adapter, profile, terms               what is asked, in whose conventions, and how an error is measured
    families                              the clauses: what an implementation is asked for
    subject, inference, naming, judge     asking, understanding, judging, and naming the mistake
    session, report, matrix               a whole check; its report; which clause sees which mistake
    known, wire, remote, serve            interfaces that exist, and adapters in other processes
    vectors                               the same for other languages, as files
"""

from typing import Any

_PUBLIC = {"check": "session", "clauses": "session", "Clause": "session", "Session": "session", "Effort": "judge",
           "Profile": "profile", "Reference": "reference", "Model": "adapter"}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """The public names, imported when they are asked for: the parts of the kit do not wait for all of it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
