"""Hypothesis profiles: `dev` explores, `ci` always draws the same, `thorough` draws many.   HYPOTHESIS_PROFILE=thorough pytest"""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile

from hypothesis import HealthCheck, settings
import pytest

from refdpm.workers import OBJECTS

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=10, deadline=None, derandomize=True, database=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# a suite that nohup starts, or a script in the background, ignores these, and so would every process that a test starts
for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# a hundred processes that the tests start would each compile the whole package where no bytecode is to be left beside it
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="refdpm-bytecode-")
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)

gc.set_threshold(OBJECTS, 10, 10)                           # as in a check


@pytest.fixture
def no_picture(monkeypatch):
    """A training draws none at its end, which takes longer than the training of most tests."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
