"""Claim: whatever an adapter does, in this process, in its own or over `cmd:`, every clause gets a verdict, a failure a reason, the
exit code says what was found, and nothing is left, no process and no file; also when the check itself is ended by a signal.

    python validation/hostile.py [--folder DIR]          DIR: further adapters, files with `alpha_bar`
"""

from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from claim import claim_of, conclude, row

import refdpm
from refdpm.conformance.remote import SERVE

HOME = Path(refdpm.__file__).parents[1]
MARK = "REFDPM_HOSTILE"                 # a variable of the environment by which processes are found that were left
TIMEOUT = 2                             # seconds a call
LONGEST = 300                           # seconds a check
RIGHT = "    return np.cumprod(1 - beta)"


class Hostile(NamedTuple):
    """An adapter: the body of `alpha_bar`, what stands before it, and the exit codes that are right."""

    body: str
    before: str = ""
    codes: tuple[int, ...] = (1,)
    here: bool = True                   # whether it can be asked in the process of the check


HANG = "while True: time.sleep(1)"
SLEEPER = "subprocess.Popen(['sleep', '300'], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
ADAPTERS = {
    # exceptions
    "raises": Hostile("raise RuntimeError('no')", codes=(2,)),
    "base exception": Hostile("raise type('B', (BaseException,), {})('x')"),
    "unprintable": Hostile("raise Unprintable"), "interrupt": Hostile("raise KeyboardInterrupt", here=False),
    "generator exit": Hostile("raise GeneratorExit"), "leaves": Hostile("sys.exit(0)"), "stop iteration": Hostile("next(iter(()))"),
    "deep": Hostile("return alpha_bar(beta)", codes=(2,)),
    "chained": Hostile("try: 1 / 0\n    except ZeroDivisionError: raise ValueError('second')", codes=(2,)),
    "name with controls": Hostile("raise type('\\x1b[31mE\\n', (Exception,), {})('\\x00\\x1b]0;x\\x07')"),
    "five megabytes": Hostile("raise ValueError('A' * 5_000_000)", codes=(2,)),
    "surrogates": Hostile("raise ValueError('\\ud800 \\ufffe ]]>')", codes=(2,)),
    "no memory": Hostile("return np.zeros(10 ** 15)"), "not implemented": Hostile("raise NotImplementedError", codes=(2,)),
    # at import
    "import: exits with 0": Hostile("pass", "os._exit(0)", (2,), here=False), "import: raises": Hostile("pass", "1 / 0", (2,)),
    "import: base exception": Hostile("pass", "raise type('B', (BaseException,), {})('x')", (2,)),
    "import: hangs": Hostile("pass", HANG, (2,), here=False), "import: prints": Hostile(RIGHT.strip(), "print('{}' * 1000)", (0,)),
    # ends
    "exit 0": Hostile("os._exit(0)", here=False), "C exit 0": Hostile("ctypes.CDLL(None).exit(0)", here=False),
    "crash": Hostile("ctypes.string_at(0)", here=False), "killed": Hostile("os.kill(os.getpid(), 9)", here=False),
    "terminated": Hostile("os.kill(os.getpid(), 15); time.sleep(9)", here=False), "hangs": Hostile(HANG, here=False),
    "ignores signals and hangs": Hostile("[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15)]\n    " + HANG, here=False),
    # answers
    "no axes": Hostile("return np.float64(0.5)"), "64 axes": Hostile("return np.zeros((1,) * 64)"), "nothing": Hostile("pass"),
    "a number": Hostile("return 10 ** 400"), "text": Hostile("return 'x'"), "a generator": Hostile("return (b for b in beta)"),
    "a dict": Hostile("return {'table': np.ones(3), 3: 4}"), "objects": Hostile("return np.array([object()] * len(beta))"),
    "ragged": Hostile("return [[1], [1, 2]]"), "empty": Hostile("return np.zeros(0)"), "NaN": Hostile("return np.nan * beta"),
    "240 MB": Hostile("return np.zeros(30_000_000)"), "itself": Hostile("x = []; x.append(x); return x", codes=(2,)),
    "structured": Hostile("return np.zeros(len(beta), [('a', 'f8')])"), "dates": Hostile("return np.zeros(len(beta), 'M8[s]')"),
    "masked": Hostile("return np.ma.masked_array(np.cumprod(1 - beta), mask=True)"),
    "array that raises": Hostile("return Bad()"), "lies about its length": Hostile("return Lying(beta)"),
    # objects
    "property that raises": Hostile("pass", "class A:\n    alpha_bar = property(lambda self: 1 / 0)\nmake = lambda beta: A()"),
    "attributes that raise": Hostile("pass", "class A:\n    def __getattr__(self, name): raise RuntimeError(name)\n"
                                     "make = lambda beta: A()", (2,)),
    "make returns nothing": Hostile(RIGHT.strip(), "make = lambda beta: None", (0,)),
    "schedule of NaN": Hostile(RIGHT.strip(), "beta = np.full(5, np.nan)", (2,)),
    "schedule outside": Hostile(RIGHT.strip(), "beta = np.array([0.5, 1.5])", (2,)),
    "profile that is none": Hostile(RIGHT.strip(), "profile = {'first_t': [1]}", (2,)),
    "conventions that there are not": Hostile(RIGHT.strip(), "profile = {'\\x1b[31m': object()}", (2,)),
    "steps that are none": Hostile(RIGHT.strip(), "own_steps = [3, 'x']", (2,)),
    "schedule that raises": Hostile("pass", "class A:\n    beta = property(lambda self: 1 / 0)\n    alpha_bar = np.cumprod\n"
                                    "make = lambda beta: A()", (0, 1, 2)),
    "arrays of its own": Hostile("return (1 - beta).view(Own)"),
    "signature that lies": Hostile(RIGHT.strip(), "class S:\n    def __get__(self, *_): raise ValueError('no signature')\n"
                                   "type('X', (), {'__signature__': S()})", (0,)),
    # what is done to the world
    "numpy without abs": Hostile("vars(np).pop('abs', None)\n" + RIGHT, codes=(0,), here=False),
    "numpy of its own": Hostile("np.cumprod = lambda x: 0 * x\n" + RIGHT, here=False),
    "another folder": Hostile("os.chdir('/')\n" + RIGHT, codes=(0,)),
    "environment emptied": Hostile("os.environ.clear()\n" + RIGHT, codes=(0,)),
    "recursion limit": Hostile("sys.setrecursionlimit(40)\n" + RIGHT, codes=(0, 1, 2), here=False),
    "errors that are raised": Hostile("np.seterr(all='raise')\n" + RIGHT, codes=(0,)),
    "an end that hangs": Hostile("atexit.register(time.sleep, 300)\n" + RIGHT, codes=(0,), here=False),
    "prints without end": Hostile("threading.Thread(target=lambda: [print('x' * 999) for _ in iter(int, 1)], daemon=True).start()"
                                  "\n" + RIGHT, codes=(0, 1), here=False),
    "modules taken away": Hostile("[sys.modules.pop(name) for name in list(sys.modules) if name.startswith(('refdpm', 'json'))]\n"
                                  + RIGHT, codes=(0, 1), here=False),
    "alarm": Hostile("signal.alarm(1)\n" + RIGHT, codes=(0, 1), here=False),
    "closes everything": Hostile("os.closerange(0, 100)\n" + RIGHT, here=False),
    "prints": Hostile("print('\\x1b[31m{}')\n" + RIGHT, codes=(0,)), "threads": Hostile(
        "threading.Thread(target=lambda: time.sleep(300)).start()\n" + RIGHT, codes=(0,), here=False),
    "child with a session of its own": Hostile(SLEEPER + "\n" + RIGHT, codes=(0,), here=False),
    "grandchild with a session of its own": Hostile(
        f"subprocess.run([sys.executable, '-c', \"import subprocess; {SLEEPER}\"])\n" + RIGHT, codes=(0,), here=False),
    "fork that answers too": Hostile("os.fork()\n" + RIGHT, codes=(0, 1), here=False),
    "kills its parent": Hostile("os.kill(os.getppid(), 9)\n" + RIGHT, codes=(1,), here=False),
}
TOP = """import atexit, ctypes, os, signal, subprocess, sys, threading, time
import numpy as np

class Unprintable(Exception):
    def __str__(self): raise RuntimeError("cannot be printed")

class Bad:
    def __array__(self, *_, **__): raise Unprintable

class Own(np.ndarray):
    def astype(self, *_, **__): raise Unprintable
    tobytes = tolist = ravel = reshape = astype

class Lying(list):
    def __len__(self): return 10 ** 9

"""


def text_of(hostile: Hostile) -> str:
    """The module."""
    function = "" if "class A" in hostile.before else f"def alpha_bar(beta):\n    {hostile.body.strip()}\n"
    return f"{TOP}{hostile.before}\n{function}"


IN_PROCESS = """
import json, sys
from refdpm.conformance import remote, session
from refdpm.conformance.judge import Effort
try:
    found = session.check(remote.local(sys.argv[1], session.NAMES), only="SCH.ABAR", effort=Effort(max_examples=2, shrinks=5))
except ValueError as error:
    sys.exit(f"error: {error}"[:500]) if not str(error).startswith(("adapter:", "profile:")) else sys.exit(2)
print(json.dumps(found, default=float))
sys.exit(found["exit_code"])
"""


def command(way: str, path: Path, junit: Path) -> list[str]:
    """How a check of an adapter is started."""
    if way == "here":
        return [sys.executable, "-c", IN_PROCESS, str(path)]
    over = shlex.join([sys.executable, "-P", "-c", SERVE, str(HOME), str(path)])
    return [sys.executable, "-m", "refdpm", "check", f"cmd:{over}" if way == "cmd" else str(path), "--only", "SCH.ABAR",
            "--max-examples", "2", "--timeout", str(TIMEOUT), "--json", "--junit", str(junit)]


def environment(folder: Path) -> dict[str, str]:
    """Of a check: its temporary files and its mark."""
    return os.environ | {MARK: str(folder), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(HOME), "PYTHONDONTWRITEBYTECODE": "1"}


def left(folder: Path) -> list[int]:
    """The processes that carry the mark, after a moment in which they may end."""
    for _ in range(20):
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    marked = f"{MARK}={folder}".encode() in (entry / "environ").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                found += [int(entry.name)] * (marked and state not in "ZX")
        if not found:
            return []
        time.sleep(0.1)
    return found


def can_be_asked_here(hostile: Hostile | Path) -> bool:
    """Whether it leaves the process of the check, and its libraries, as they are."""
    if isinstance(hostile, Hostile):
        return hostile.here
    return not any(word in hostile.read_text() for word in ("_exit(", "Popen(", "Thread(", "del np."))


def faults(way: str, hostile: Hostile | Path, folder: Path) -> list[str]:
    """What is wrong with the check of one adapter."""
    path, junit = folder / "adapter.py", folder / "junit.xml"
    (folder / "tmp").mkdir()
    path.write_text(hostile.read_text() if isinstance(hostile, Path) else text_of(hostile))
    code, printed, said = _done(command(way, path, junit), folder)
    codes = (0, 1, 2) if isinstance(hostile, Path) else hostile.codes
    found = [f"exit code {code}, expected {codes}: {said[-300:]}"] if code not in codes else []
    found += ["a traceback"] if "Traceback" in said else []
    if code in (0, 1, 2) and printed:
        found += _faults_of_a_report(json.loads(printed), code)
    if code == 2 and way != "here" and not printed:
        found += [f"{len(said.splitlines())} lines of error"] if len(said.strip().splitlines()) != 1 or len(said) > 2000 else []
    if junit.exists():
        ElementTree.parse(junit)
    found += ["raw control characters"] * any(ord(letter) < 32 and letter != "\n" for letter in said + printed)
    found += ["a report of more than a megabyte"] * (len(printed) > 10 ** 6)
    found += [f"processes {pids} left"] if (pids := left(folder)) else []
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    kept = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} - {"adapter.py", "junit.xml"}
    kept = {name for name in kept if way != "here" or not name.startswith(".hypothesis")}       # which the check itself keeps
    found += [f"files left: {sorted(kept)[:5]}"] if kept else []
    return found


def _done(arguments: list[str], folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; by way of files, as what is left could keep pipes open."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment(folder), cwd=folder)
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        texts = [file.seek(0) or file.read().decode(errors="replace") for file in (out, err)]
    return code, texts[0], texts[1]


def _faults_of_a_report(report: dict[str, Any], code: int) -> list[str]:
    wrong = [row for row in report["clauses"] if row["verdict"] != "pass"]
    failed = [row for row in wrong if row["verdict"] != "skipped"]
    return (["no verdict"] * (not report["clauses"]) + ["no reason"] * any(not _told(row) for row in wrong)
            + ["exit code 0 beside a failure"] * (code == 0 and bool(failed))
            + ["exit code 2 beside what was decided"] * (code == 2 and not wrong))


def _told(row: dict[str, Any]) -> bool:
    """Whether there is a reason, a mistake, or numbers and an input to see it on."""
    return bool(row["reason"] or row["mistake"] or row["ratio"] is not None and row["smallest_input"])


def ended(number: int, folder: Path) -> list[str]:
    """What is left of a check that was ended by a signal while its adapter hangs, with a child in a session of its own."""
    (folder / "tmp").mkdir()
    (folder / "adapter.py").write_text(text_of(Hostile(f"{SLEEPER}; open({str(folder / 'there')!r}, 'w').close()\n    {HANG}")))
    process = subprocess.Popen([*command("check", folder / "adapter.py", folder / "junit.xml"), "--timeout", "100"], cwd=folder,
                               env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None)
    while not (folder / "there").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    code = process.wait(LONGEST)
    pids = left(folder)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    expected = -9 if number == signal.SIGKILL else 128 + number
    return [f"processes {pids} left"] * bool(pids) + [f"exit code {code}, expected {expected}"] * (code != expected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, metavar="DIR")
    parser.add_argument("--only", default="", metavar="NAME")
    options = parser.parse_args()
    started, rows = time.perf_counter(), []
    more: dict[str, Hostile | Path] = {file.name: file for file in sorted(options.folder.glob("*.py"))} if options.folder else {}
    for way in ("here", "check", "cmd"):
        asked, wrong = 0, []
        for name, hostile in {**ADAPTERS, **more}.items():
            if options.only in name and (way != "here" or can_be_asked_here(hostile)):
                with tempfile.TemporaryDirectory() as folder:
                    asked += 1
                    found = faults(way, hostile, Path(folder))
                    print("\n".join(f"{way}: {name}: {fault}" for fault in found) or f"{way}: {name}", file=sys.stderr, flush=True)
                    wrong += [f"{name}: {fault}" for fault in found]
        rows.append(row(f"{way}: {asked} adapters, {len(wrong)} faults {wrong}", "no fault", not wrong))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL) if not options.only else ():
        with tempfile.TemporaryDirectory() as folder:
            wrong = ended(number, Path(folder))
        rows.append(row(f"a check ended by {number.name}: {wrong or 'nothing left'}", "nothing left", not wrong))
    if options.only:
        print(rows)
        return int(not all(one["holds"] for one in rows))
    return conclude("hostile", claim_of(__doc__), rows, seconds=time.perf_counter() - started, settings={"timeout": TIMEOUT})


if __name__ == "__main__":
    raise SystemExit(main())
