"""Clauses as tests of pytest, which finds this module where refdpm is installed:

    pytest --refdpm my_adapter.py                          # the clauses about my_adapter.py, beside whatever tests there are
    pytest --refdpm one.py two.py                          # about both: a file with no tests in it is an adapter too

    @pytest.mark.refdpm(my_adapter, expected_failures={"GAU.POST.VAR": "we mend this next week"})
    def test_mathematics(refdpm_clause):                   # in a test file: one test for each clause
        refdpm_clause.check()

A clause that passes is a passed test, and one that fails is a failed test whose text is the report of that clause.  What was not
decided is a skipped test with the reason; where none of an adapter's clauses was decided, the run fails.  Nothing else of this
package is imported before a run asks for it.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import pytest

if TYPE_CHECKING:
    from refdpm.conformance.session import Clause, Session

TIMEOUT = 30.0                  # seconds for one call of the adapter


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags."""
    group = parser.getgroup("refdpm", "the mathematics of a diffusion model")
    group.addoption("--refdpm", action="append", default=[], metavar="ADAPTER", dest="refdpm",
                    help="check the clauses about this adapter, as `refdpm check ADAPTER` does; may be given again, "
                    "and then every file that is named and has no tests is an adapter too")
    group.addoption("--refdpm-expected", type=Path, metavar="FILE", dest="refdpm_expected",
                    help="lines CLAUSE REASON of clauses that are expected to fail; one that passes is a failure")


def pytest_configure(config: pytest.Config) -> None:
    """The mark; and the look at what was decided, where an adapter is checked."""
    config.addinivalue_line("markers", "refdpm(adapter, expected_failures={}, ...): one test for each clause about the adapter; "
                            "the clause comes as the argument refdpm_clause")
    if config.getoption("refdpm"):
        config.pluginmanager.register(Decided(), "refdpm-decided")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `refdpm_clause`, once for each clause about the adapter that its mark names."""
    if "refdpm_clause" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("refdpm")
    if mark is None:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: expected @pytest.mark.refdpm(my_adapter) beside the argument "
                                f"refdpm_clause, got no such mark")
    from refdpm.conformance import clauses
    metafunc.parametrize("refdpm_clause", clauses(*mark.args, **mark.kwargs), ids=str)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The clauses about each adapter, behind all other tests; a named file without tests is an adapter, if one is asked for."""
    adapters = config.getoption("refdpm")
    if adapters:
        with_tests = {item.path for item in items}
        adapters += [text for text in config.args if text.endswith(".py") and Path(text).absolute() not in with_tests]
    for text in adapters:
        place = Path(text.rpartition(":")[0] if ".py:" in text else text)
        items.extend(session.genitems(Adapter.from_parent(session, name=text, nodeid=text,
                                                          path=place.absolute() if place.is_file() else session.path)))


class Adapter(pytest.Collector):
    """An adapter, in a process of its own; its items are the clauses about what it offers."""

    def collect(self) -> Iterator[pytest.Item]:
        """Raises: CollectError if there is no such adapter, or no such expected failure."""
        from refdpm.conformance import expected, remote, session

        known = dict(session.all_clauses())
        try:
            path = self.config.getoption("refdpm_expected")
            self.expected = expected.from_file(path, known, flag="--refdpm-expected") if path else {}
            self.source = remote.open_source(self.name, isolate=True, timeout=TIMEOUT, names=session.NAMES)
        except (ValueError, OSError) as error:
            raise self.CollectError(f"refdpm: {error}") from None
        offers = self.source.offers()
        yield from (ClauseItem.from_parent(self, name=id) for id, of in known.items()
                    if offers.issuperset(session.names_needed(id, of)))

    @cached_property
    def check(self) -> "Session":
        """What the clauses share; the adapter's conventions are found when the first of them runs."""
        from refdpm.conformance import Session
        return Session(self.source)

    def clause(self, id: str) -> "Clause":
        """A clause by its id."""
        from refdpm.conformance import Clause, session
        return Clause(self.check, id, dict(session.all_clauses())[id], self.expected.get(id))

    def teardown(self) -> None:
        """Ends the adapter's process."""
        self.source.close()


class Failure(Exception):
    """A clause that fails; its message is the report."""


class ClauseItem(pytest.Item):
    """A clause as a test."""

    def runtest(self) -> None:
        """Raises: Failure with the report of the clause; what means a skip or an xfail in pytest."""
        from refdpm.conformance.junit import properties

        assert isinstance(self.parent, Adapter)
        clause = self.parent.clause(self.name)
        row = clause.row                                       # an error in this is one of refdpm, and is shown as such
        self.user_properties += properties(row)
        try:
            clause.check()
        except SkipTest as skip:
            pytest.skip(str(skip))
        except AssertionError as failure:
            raise Failure(str(failure)) from None

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report, without our own traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, Failure) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """See `pytest.Item`."""
        return self.path, None, f"clause {self.name}"


class Decided:
    """Which clauses ran and which of them were decided, by adapter: a run in which none was is no success."""

    def __init__(self) -> None:
        self.ran: dict[str, dict[str, bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes note of a clause that ran."""
        adapter, _, id = report.nodeid.rpartition("::")
        if report.when == "call":
            self.ran.setdefault(adapter, {})[id] = report.outcome != "skipped" or hasattr(report, "wasxfail")

    def undecided(self, config: pytest.Config) -> list[str]:
        """The adapters of which clauses ran, but none was decided."""
        from refdpm.conformance.session import something_decided
        ran = {adapter: self.ran[adapter] for adapter in config.getoption("refdpm") if adapter in self.ran}
        return [adapter for adapter, found in ran.items() if not something_decided([id for id in found if found[id]], found)]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Silence is no success."""
        if exitstatus == pytest.ExitCode.OK and self.undecided(session.config):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Says so."""
        for adapter in self.undecided(config):
            terminalreporter.line(f"ERROR refdpm: {adapter}: no clause was decided (-rs shows the reasons)", red=True)
