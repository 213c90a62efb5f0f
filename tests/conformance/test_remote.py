"""Adapters that misbehave, in this process and in their own: each is a verdict with a reason, and the rest goes on."""

from contextlib import closing
from pathlib import Path
from textwrap import dedent
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from refdpm.conformance import remote, session, wire
from refdpm.conformance.adapter import Fault, Local, Model, Skip, CalledNoMore
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.judge import Effort
from refdpm.conformance.remote import LIVES, Remote, open_source

TIMEOUT = 0.5
BRIEF = Effort(seed=0, max_examples=2, shrinks=5)
NAMES = frozenset({"forward", "marginal"})
FUNCTION = {function.name: function for function in QUANTITIES}
ONE = {"x_prev": np.ones((3, 2)), "t": np.array([1, 2, 1]), "beta": np.array([0.25, 0.5])}

GOOD = """
import ctypes, os, signal, subprocess, sys, time
import numpy as np

def column(values, x):
    return values.reshape(-1, *[1] * (x.ndim - 1))

def right(x_prev, t, beta):
    rate = column(beta[t - 1], x_prev)
    return np.sqrt(1 - rate) * x_prev, rate

def marginal(x_0, t, beta):
    level = column(np.cumprod(1 - beta.astype(np.float64))[t - 1], x_0)
    return np.sqrt(level) * x_0, 1 - level
"""
FORWARD = "\ndef forward(x_prev, t, beta):\n    mean, var = right(x_prev, t, beta)\n"


@pytest.fixture
def adapter(tmp_path, request):
    """Writes a module whose marginal is right and whose forward has a body of its own."""
    def written(body, before=""):
        path = tmp_path / f"adapter_{abs(hash(request.node.name))}.py"
        path.write_text(GOOD + before + FORWARD + "".join(f"    {line}\n" for line in dedent(body).strip().splitlines()))
        return str(path)
    return written


@pytest.fixture
def opened():
    """Opens sources and closes them."""
    sources = []

    def source(text, *, isolate=False, timeout=TIMEOUT, names=NAMES):
        sources.append(open_source(text, isolate=isolate, timeout=timeout, names=names))
        return sources[-1]
    yield source
    for one in sources:
        one.close()


def judged(source):
    """The verdict and the reason for forward and for marginal: of both outputs, the worse."""
    kit = session.Session(source, effort=BRIEF)
    order = ("pass", "skipped", "not checked", "inaccurate", "wrong")
    found = [[result for result in kit.value_results(FUNCTION[name]).values() if result.id.startswith(FUNCTION[name].id + ".")]
             for name in ("forward", "marginal")]
    worst = [max(results, key=lambda result: order.index(result.verdict)) for results in found]
    return [(result.verdict, result.reason) for result in worst]


FAKE_TENSOR = """
class Tensor:
    __module__ = "torch"
    def __init__(self, array): self.array = array
    def detach(self): return self
    def cpu(self): return self
    def __array__(self, dtype=None, copy=None): return self.array
"""
HERE = {
    "raises": ("raise RuntimeError('no CUDA\\nhere')", "not checked", "raises RuntimeError: no CUDA"),
    "not implemented": ("raise NotImplementedError('one day')", "skipped", "one day"),
    "leaves": ("sys.exit(4)", "wrong", "leaves Python with SystemExit(4)"),
    "no Exception": ("raise type('Panic', (BaseException,), {})('at once')", "wrong", "raises Panic, which is no Exception: at"),
    "recursion": ("return forward(x_prev, t, beta)", "not checked", "raises RecursionError"),
    "shape": ("return mean[:, :1, ...][:-1], var", "wrong", "returns shape (10, 1), expected (11, 2)"),
    "too few": ("return mean", "wrong", "returns 1 arrays, expected 2: mean, var"),
    "nothing": ("pass", "wrong", "returns NoneType, expected an array of numbers"),
    "a dict": ("return {'mean': mean}", "wrong", "returns a dict without var"),
    "integers": ("return mean.astype(int), var", "wrong", "returns int64 for MEAN, expected real numbers"),
    "objects": ("return mean.astype(object), var", "wrong", "returns ndarray, expected an array of numbers"),
    "complex": ("return mean + 0j, var", "wrong", "returns complex128"),
    "strings": ("return mean.astype(str), var", "wrong", "returns <U"),
    "NaN": ("return mean * np.nan, var", "wrong", "returns NaN where a number is expected"),
    "infinity": ("return mean, np.inf + var", "wrong", "returns infinity where a number is expected"),
    "unprintable": ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "wrong", "raises E: (it cannot be printed)"),
    "long": ("raise ValueError('A' * 10 ** 6)", "not checked", "raises ValueError: AAA"),
    "64 axes": ("return np.zeros((1,) * 64), var", "wrong", "returns shape (1, 1, 1"),
    "empty": ("return np.zeros(0), var", "wrong", "returns shape (0,), expected (11, 2)"),
    "masked": ("return np.ma.masked_array(mean, mask=True), var", "wrong", "returns a masked array"),
    "240 MB": ("return np.zeros(30_000_000), var", "wrong", "returns an array of shape (30000000,), too large to be judged"),
    "a tensor": ("return Tensor(mean), Tensor(var)", "pass", "returned a torch.Tensor, read as an array"),
    "changes": ("x_prev[:] = 7; beta += 1; return mean, var", "pass", "changes its input beta; changes its input x_prev"),
    "prints": ("print('{}', flush=True); return mean, var", "pass", "prints to standard output"),
    "prints bytes": ("sys.stdout.buffer.write(b'[1, 2]'); return mean, var", "pass", "prints to standard output"),
    "asks for more": ("forward.__defaults__; return mean, var", "pass", ""),
}


@pytest.mark.parametrize("name", HERE)
def test_in_this_process(adapter, opened, capfd, name):
    body, verdict, reason = HERE[name]
    forward, marginal = judged(opened(adapter(body, FAKE_TENSOR)))
    assert forward[0] == verdict and reason in forward[1]
    assert marginal == ("pass", "")
    assert capfd.readouterr().out == ""


APART = {
    "hangs": ("time.sleep(1000)", "does not answer within 0.5 s"),
    "exits": ("sys.stderr.write('no\\nmore\\n'); sys.stderr.flush(); os._exit(3)",
              "its process ended with exit code 3; the last it wrote: 'more'"),
    "kills itself": ("os.kill(os.getpid(), signal.SIGKILL)", "its process ended with SIGKILL"),
    "crashes": ("ctypes.string_at(0)", "its process ended with SIGSEGV"),
}
ONLY_APART = {
    "interrupts": ("raise KeyboardInterrupt", "raises KeyboardInterrupt"),
    "huge": ("return np.zeros((3000, 3000)), var", "returns an array of shape (3000, 3000), too large to be judged"),
    "complex": ("return mean + 0j, var", "returns complex128, expected real numbers"),
    "strings": ("return mean.astype(str), var", "returns <U32, expected real numbers"),
    "reads": ("input()", "raises EOFError: EOF when reading a line"),
}


@pytest.mark.parametrize("name", APART)
def test_in_a_process_of_its_own(adapter, opened, name):
    body, reason = APART[name]
    forward, marginal = judged(opened(adapter(body), isolate=True))
    assert (forward, marginal) == (("wrong", reason), ("pass", ""))


SENT = ("raises", "not implemented", "leaves", "recursion", "shape", "integers", "objects", "NaN", "infinity",
        "a tensor", "changes", "prints")


def test_in_a_process_of_its_own_it_is_the_same(adapter, opened):
    """One process for all: the bad bodies are one function, and an argument says which."""
    bodies = {name: HERE[name][0].replace("forward(", "bad(kind, ") for name in SENT}
    bodies |= {name: body for name, (body, _) in ONLY_APART.items()}
    cases = "\n".join(f"    if kind == {name!r}: {body}" for name, body in bodies.items())
    path = adapter("pass", f"{FAKE_TENSOR}\ndef bad(kind, x_prev, t, beta):\n    mean, var = right(x_prev, t, beta)\n{cases}\n")
    there, here = (opened(path, isolate=isolate, timeout=5, names=frozenset({"bad"})) for isolate in (True, False))
    pid = there._process._process.pid
    for name in SENT:
        assert _outcome(there, "bad", ONE | {"kind": name}) == _outcome(here, "bad", ONE | {"kind": name}), name
    assert there.notes == here.notes and len(there.notes["bad"]) == 4
    for name, (_, reason) in ONLY_APART.items():
        kind, said = _outcome(there, "bad", ONE | {"kind": name})
        assert kind is Fault and said.startswith(reason)
    assert there._process._process.pid == pid


def _outcome(source, name, arguments):
    """What came of a call, so that it can be compared."""
    copies = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    try:
        return [(part.dtype, part.shape, part.tobytes()) for part in source.call(name, copies)]
    except (Skip, Fault) as found:
        return type(found), str(found)


@pytest.mark.parametrize("body", ["print('x')", "os.write(1, b'{\\n')", "ctypes.CDLL(None).puts(b'no JSON')",
                                  "os.write(1, b'x' * 2 ** 23)", "subprocess.run(['echo', 'x'])", "sys.__stdout__.write('late')"])
def test_what_is_printed_never_reaches_the_protocol(adapter, opened, monkeypatch, body):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    source = opened(adapter(f"{body}; return mean, var"), isolate=True, timeout=5)
    assert np.array_equal(source.call("forward", ONE)[1].ravel(), [0.25, 0.5, 0.25])
    assert source.notes == {"forward": {"prints to standard output, which was kept off the report"}}
    source.call("marginal", ONE | {"x_0": np.ones((3, 2))})
    assert "marginal" not in source.notes


def test_printing_at_import_is_kept_off(adapter, opened, capfd):
    path = adapter("return mean, var", "print('hello'); os.write(1, b'')")
    opened(path).call("forward", ONE)
    opened(path, isolate=True).call("forward", ONE)
    assert capfd.readouterr().out == ""


# -- the life of a process -----------------------------------------------------------------------------------------------

def test_a_function_that_ends_its_process_is_soon_not_called_any_more(adapter, opened):
    source = opened(adapter("os._exit(7)"), isolate=True)
    for _ in range(LIVES):
        with pytest.raises(Fault, match="ended with exit code 7$"):
            source.call("forward", ONE)
    with pytest.raises(CalledNoMore, match="ended with exit code 7; 3 times, and is not called any more"):
        source.call("forward", ONE)
    assert len(source.call("marginal", ONE | {"x_0": np.ones((3, 2))})) == 2


def test_inputs_that_were_not_tried_any_more_are_no_smallest_ones(adapter, opened):
    source = opened(adapter("if len(t) > 4: os._exit(7)\nreturn mean, var"), isolate=True)
    found = session.Session(source, effort=BRIEF._replace(shrinks=200)).value_results(FUNCTION["forward"])["GAU.FWD.MEAN"]
    assert (found.verdict, found.reason) == ("wrong", "its process ended with exit code 7")
    assert len(found.smallest_input["t"]) > 4


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _gone(pid, seconds=10.0):
    deadline = time.monotonic() + seconds
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _alive(pid)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


@linux
def test_nothing_is_left_of_it(adapter, opened, tmp_path):
    """Neither of the process nor of what it started; not when it hangs, and not when it is closed."""
    note = tmp_path / "pid"
    source = opened(adapter(f"child = subprocess.Popen(['sleep', '1000']); open({str(note)!r}, 'w').write(str(child.pid))\n"
                            "time.sleep(1000)"), isolate=True)
    pid = source._process._process.pid
    with pytest.raises(Fault, match="does not answer"):
        source.call("forward", ONE)
    assert _gone(pid) and _gone(int(note.read_text()))
    source.call("marginal", ONE | {"x_0": np.ones((3, 2))})
    pid = source._process._process.pid
    source.close()
    assert _gone(pid) and not Path(f"/proc/{pid}").exists()
    source.close()


@linux
def test_an_interrupted_call_ends_the_process(adapter, opened):
    source = opened(adapter("time.sleep(1000)"), isolate=True, timeout=60)
    pid = source._process._process.pid
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            source.call("forward", ONE)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert _gone(pid)


APART_SLEEPER = "subprocess.Popen(['sleep', '1000'], start_new_session=True, stdin=-3, stdout=-3, stderr=-3)"


@linux
def test_nothing_is_left_of_children_in_sessions_of_their_own(adapter, opened, tmp_path):
    note = tmp_path / "pid"
    source = opened(adapter(f"child = {APART_SLEEPER}; open({str(note)!r}, 'w').write(str(child.pid)); return mean, var"),
                    isolate=True, timeout=20)
    source.call("forward", ONE)
    source.close()
    assert _gone(int(note.read_text()))


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_a_check(adapter, tmp_path, number):
    """Neither a hanging adapter nor what it started in a session of its own, however the check ends."""
    note = tmp_path / "pids"
    path = adapter(f"child = {APART_SLEEPER}\nopen({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} ')\n"
                   "time.sleep(1000)")
    command = [sys.executable, "-m", "refdpm", "check", path, "--only", "GAU.FWD", "--timeout", "100"]
    check = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text().endswith(" ")) and time.monotonic() < deadline:
        time.sleep(0.02)
    check.send_signal(number)
    assert check.wait(60) == (-9 if number == signal.SIGKILL else 128 + number)
    assert all(_gone(int(pid)) for pid in note.read_text().split())


def test_the_interpreter_s_flags_are_passed_on():
    code = "import sys; from refdpm.conformance import remote; print(remote._interpreter()[1:])"
    done = subprocess.run([sys.executable, "-O", "-X", "utf8", "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True)
    assert all(flag in done.stdout for flag in ("-O", "utf8", "-Werror"))


@pytest.mark.parametrize("name", ["refdpm", "numpy"])
def test_an_adapter_may_have_the_name_of_a_package(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("def kl(mean_q, var_q, mean_p, var_p): raise ValueError('mine')\n")
    source = open_source(str(tmp_path / f"{name}.py"), isolate=True, timeout=20, names=NAMES | {"kl"})
    assert source.offers() == {"kl"}
    source.close()
    assert sys.modules[name].__name__ == name


def test_the_first_answer_has_its_time_too(monkeypatch):
    monkeypatch.setattr(remote, "STARTUP", 0.1)
    with pytest.raises(ValueError, match="which does not answer within 0.6 s"):
        open_source("cmd:sh -c 'sleep 100'", isolate=False, timeout=TIMEOUT, names=NAMES)


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("text,reason", [
    ("import nowhere_at_all", "No module named 'nowhere_at_all'"), ("1 +", "SyntaxError"), ("raise SystemExit(3)", "SystemExit: 3"),
    ("def kl(): 1\ndtype = 'int8'", "dtype: expected one of bfloat16, float16"), ("x = 1", "found none of them in none"),
    ("def make(beta): raise KeyError", "raises KeyError"), ("def kl(): 1\nown_steps = 'ab'", "own_steps: expected a tuple")])
def test_what_is_no_adapter_is_said_at_once(tmp_path, isolate, text, reason):
    path = tmp_path / "none.py"
    path.write_text(text)
    with pytest.raises(ValueError, match="^adapter: (expected (a module|functions)|own_steps)") as found:
        open_source(str(path), isolate=isolate, timeout=TIMEOUT, names=NAMES | {"kl"})
    assert reason in str(found.value)


@pytest.mark.parametrize("isolate", [False, True])
def test_the_length_of_a_long_exception_is_its_own_in_every_process(tmp_path, isolate):
    path = tmp_path / "long.py"
    path.write_text("def forward(x_prev, t, beta):\n    raise ValueError('A' * 5_000_000)\n")
    with closing(open_source(str(path), isolate=isolate, timeout=10.0, names=NAMES)) as source:
        found, = session.check(source, effort=BRIEF, only="GAU.FWD.MEAN")["clauses"]
    assert found["verdict"] == "not checked"
    assert "ValueError: AAAA" in found["reason"] and "(5000000 characters in all)" in found["reason"]


# -- programs ------------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, time
mode = sys.argv[1] if len(sys.argv) > 1 else ""
for line in sys.stdin:
    message = json.loads(line)
    if "hello" in message:
        answer = {"functions": [name for name in message["names"] if name in ("forward", "kl")]}
        if mode == "places": answer["places"] = {"forward": "program.py"}
        if mode == "beta": answer["beta"], answer["profile"], answer["dtype"] = [0.25, 0.5], {"first_t": 0}, "float32"
    else:
        given = message["arguments"]
        x, t, beta = given["x_prev"], given["t"]["data"], given["beta"]["data"]
        width = len(x["data"]) // x["shape"][0]
        rates = [beta[s - 1] for s in t]
        mean = [x["data"][n * width + d] * (1 - rates[n]) ** 0.5 for n in range(len(t)) for d in range(width)]
        value = {"mean": {"dtype": "float64", "shape": x["shape"], "data": mean}, "var": rates}
        answer = {"id": message["id"], "value": value}
        if mode == "garbage": print("epoch 1: loss 0.5")
        if mode == "other": answer["id"] = 77
        if mode == "list": answer = [1]
        if mode == "empty": del answer["value"]
        if mode == "dtype": value["mean"]["dtype"] = "quaternion"
        if mode == "short": value["mean"]["data"].pop()
        if mode == "words": value["var"] = ["a"]
        if mode == "error": answer = {"id": message["id"], "error": "no", "kind": "fault"}
        if mode == "skip": answer = {"id": message["id"], "error": "not yet", "kind": "skip"}
        if mode == "noted": answer["notes"] = ["slow"]
        if mode == "closes": sys.stdout.close(); import os; os.close(1); time.sleep(1000)
        if mode == "endless":
            while True: sys.stdout.write("x" * 100000)
    print(json.dumps(answer), flush=True)
"""
PROGRAM_FAULTS = {
    "garbage": "answers with a line that is no JSON: 'epoch 1: loss 0.5'", "list": r"answers with '\[1\]', expected a JSON object",
    "other": 'answers with .*, expected id 1 and a value', "empty": "answers with .*, expected id 1 and a value",
    "dtype": "returns dtype 'quaternion', expected real numbers", "short": "returns data of shape \\(5,\\) for shape \\[3, 2\\]",
    "words": "returns a list that is no array of float64", "error": "^no$", "closes": "closed its standard output",
    "endless": "(answers with more than 16 MB: 'xxx|does not answer within)"}


@pytest.fixture
def program(tmp_path, opened):
    """Starts the program, which knows nothing of this package."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return lambda *arguments: opened(f"cmd:{sys.executable} -I {path} {' '.join(arguments)}", timeout=2, names=session.NAMES)


def test_a_program_is_judged_like_a_module(program):
    (verdict, reason), (other, why) = judged(program())
    assert (verdict, reason, other) == ("pass", "", "skipped") and "not offered" in why


def test_a_convention_that_there_is_not_names_the_adapter(adapter, opened):
    path = adapter("return mean, var", "profile = {'first_t': [1]}\n")
    for isolate in (False, True):
        with pytest.raises(ValueError, match=f"adapter: {path}: profile: expected first_t"):
            session.Session(opened(path, isolate=isolate, timeout=20))


def test_a_program_states_its_conventions(program):
    source = program("beta")
    assert (source.dtype, source.stated, source.beta.tolist()) == ("float32", {"first_t": 0}, [0, 0.25, 0.5])
    assert source.offers() == {"forward", "kl"} and source.name.startswith("cmd:")


@pytest.mark.parametrize("mode", PROGRAM_FAULTS)
def test_what_a_program_says_wrong(program, mode):
    with pytest.raises(Fault, match=PROGRAM_FAULTS[mode]):
        program(mode).call("forward", ONE)


def test_what_a_program_does_not_do(program):
    with pytest.raises(Skip, match="not yet"):
        program("skip").call("forward", ONE)
    source = program("noted")
    source.call("forward", ONE)
    assert source.notes == {"forward": {"slow"}}
    with pytest.raises(Skip, match="needs function, which cannot be sent to another process"):
        source.call("forward", ONE | {"network": judged})


@pytest.mark.parametrize("command,reason", [
    ("cmd:/no/such/program", "cannot be started: there is no program"),
    ("cmd:true", "ended with exit code 0"), ("cmd:sh -c 'sleep 1000 & exit 3'", "ended with exit code 3"),
    ("cmd:sh -c 'echo nonsense; sleep 9'", "no JSON: 'nonsense'"), ("cmd:sh -c 'echo {}; sleep 9'", "expected functions, dtype"),
    ("cmd:sh -c 'exec 1>&-; sleep 9'", "closed its standard output")])
def test_what_is_no_program_is_said_at_once(command, reason):
    with pytest.raises(ValueError, match=f"^adapter: expected a program that answers, got .*{reason}"):
        open_source(command, isolate=False, timeout=TIMEOUT, names=NAMES)


@pytest.mark.parametrize("command,reason", [
    ("cmd:", "expected cmd:PROGRAM ARGUMENTS, got no program"), ("cmd:'", "expected cmd:PROGRAM ARGUMENTS"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"beta\\":[[1,2]]}"; sleep 9'""", r"expected a list of numbers, got shape \(1, 2\)"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"beta\\":[0.5,2]}"; sleep 9'""", r"expected values in \(0, 1\].*got 2.0 at t = 2"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"beta\\":[null]}"; sleep 9'""", "got nan at t = 1"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"own_steps\\":[[1,2]]}"; sleep 9'""", "own_steps: expected a tuple of lists"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"own_steps\\":{\\"tuple\\":[\\"a\\"]}}"; sleep 9'""", "own_steps: expected"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"classes\\":1e999}"; sleep 9'""", "which says .*classes"),
    ("""cmd:sh -c 'echo "{\\"functions\\":[],\\"own_steps\\":{\\"dtype\\":[1],\\"shape\\":[],\\"data\\":[]}}"; sleep 9'""",
     "answers with a value that cannot be read"),
    ("""cmd:sh -c 'echo "{\\"error\\":\\"\\"}"; sleep 9'""", "has nothing to check")])
def test_commands_and_schedules_that_are_none(command, reason):
    with pytest.raises(ValueError, match=f"^adapter: .*{reason}"):
        open_source(command, isolate=False, timeout=TIMEOUT, names=NAMES)


C_PROGRAM = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char line[1 << 20];

static int numbers(const char *key, double *out) {            /* the data of "key": {"dtype":…,"shape":…,"data":[…]} */
    char *at = strstr(strstr(line, key), "\"data\":[") + 8;
    int n = 0;
    while (*at != ']') { out[n++] = strtod(at, &at); if (*at == ',') at++; }
    return n;
}

int main(void) {
    static double x[9999], t[9999], beta[9999];
    while (fgets(line, sizeof line, stdin)) {
        if (strstr(line, "\"hello\"")) puts("{\"functions\":[\"forward\"],\"dtype\":\"float64\"}");
        else {
            int n = numbers("\"x_prev\":", x), rows = numbers("\"t\":", t), i;
            numbers("\"beta\":", beta);
            printf("{\"id\":%s,\"value\":{\"mean\":{\"dtype\":\"float64\",\"shape\":[%d,%d],\"data\":[",
                   strtok(strstr(line, "\"id\":") + 5, ","), rows, n / rows);
            for (i = 0; i < n; i++) printf("%s%.17g", i ? "," : "", sqrt(1 - beta[(int) t[i / (n / rows)] - 1]) * x[i]);
            printf("]},\"var\":[");
            for (i = 0; i < rows; i++) printf("%s%.17g", i ? "," : "", beta[(int) t[i] - 1]);
            puts("]}}");
        }
        fflush(stdout);
    }
    return 0;
}
"""


def test_places_that_are_none_are_no_answer(program):
    with pytest.raises(ValueError, match="adapter: expected a program that answers, got .*, which says .*places"):
        program("places")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_program_in_C(tmp_path, opened):
    (tmp_path / "forward.c").write_text(C_PROGRAM)
    subprocess.run(["cc", "-o", str(tmp_path / "forward"), str(tmp_path / "forward.c"), "-lm"], check=True)
    source = opened(f"cmd:{tmp_path / 'forward'}", timeout=2)
    mean, var = source.call("forward", ONE).values()
    assert np.array_equal(var, [0.25, 0.5, 0.25]) and np.array_equal(mean, np.sqrt(1 - var)[:, None] * ONE["x_prev"])


# -- the wire ------------------------------------------------------------------------------------------------------------

VALUES = [
    np.array([[0.1, -0.0, np.nan], [np.inf, -np.inf, 5e-324]]), np.float32([0.1, 1e-45, 3.4e38]), np.float16([[0.1]]), np.arange(3),
    np.array([True, False]), np.uint8(200), np.array(2.5), np.float64(0.1), float("nan"), np.zeros((0, 3)), 2 ** 60, True, None,
    "text", 0.1]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_sent_is_what_comes(value):
    came, sent = np.asarray(wire.decode(json.loads(wire.line({"value": wire.encode(value)}))["value"])), np.asarray(value)
    assert came.dtype == sent.dtype and came.shape == sent.shape
    assert came.tolist() == sent.tolist() if came.dtype.kind != "f" else came.tobytes() == sent.tobytes()


def test_structures_are_sent():
    model = Model(np.ones((3, 2, 2)), np.zeros((3, 2)), 0)
    value = {"model": model, "args": {"x": (np.ones(2), (1, "a")), "dict": {}}, "tuple": ()}
    again = wire.decode(json.loads(json.dumps(wire.encode(value), allow_nan=False)))
    assert again.keys() == value.keys() and again["tuple"] == ()
    assert again["args"]["dict"] == {} and again["args"]["x"][1] == (1, "a")
    assert isinstance(again["model"], Model) and again["model"].first_t == 0 and np.array_equal(again["model"].weight, model.weight)
    assert wire.decode([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]] and np.isnan(wire.decode([None])[0])


def test_lines_are_JSON_of_one_line():
    line = wire.line({"id": 1, "value": wire.encode({"x": "a\nb", "y": np.array([np.nan])})})
    assert line.count(b"\n") == 1 and line.endswith(b"\n") and b"NaN" in line and line.isascii()


def test_a_remote_model_predicts_what_it_predicts_here(adapter, opened):
    path = adapter("return mean, var", "\ndef predict(model, x_t, t):\n    return model(x_t, t)\n")
    rng = np.random.default_rng(0)
    model = Model(rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2)))
    given = {"model": model, "x_t": rng.normal(size=(4, 2)), "t": np.array([1, 2, 2, 1])}
    there, here = (opened(path, isolate=isolate, names=frozenset({"predict"})).call("predict", given) for isolate in (True, False))
    assert np.array_equal(there, here)


def test_sources_are_sources(adapter):
    path = adapter("return mean, var")
    with_names = open_source(path, isolate=False, timeout=1, names=NAMES)
    assert isinstance(with_names, Local) and with_names.offers() == NAMES and with_names.name == path
    apart = open_source(path, isolate=True, timeout=1, names=NAMES)
    assert isinstance(apart, Remote) and apart.offers() == NAMES and apart.name == path
    apart.close()
    assert os.path.exists(path)


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("steps, says", [
    ("range(len(beta), 0, -1)", ""), ("range(len(beta), 1, -1)", "the network is asked at t = 5, 4, 3, 2, expected 5, 4, 3, 2, 1")])
def test_when_a_sampler_asks_the_network_is_seen_in_another_process_too(tmp_path, opened, isolate, steps, says):
    path = tmp_path / "sampler.py"
    path.write_text(f"def sample(model, noise, beta):\n    x = noise[-1]\n    for t in {steps}:\n"
                    "        x = x - beta[t - 1] * model(x, [t] * len(x))\n    return x\n")
    kit = session.Session(opened(str(path), isolate=isolate, timeout=20, names=frozenset({"sample"})), effort=BRIEF)
    law = next(one for one in session.LAWS if one.id == "SMP.TIMES")
    result = kit.law_result(law)
    assert (result.verdict, result.reason) == ("wrong" if says else "pass", says)


def test_a_large_argument_is_sent_once_and_kept_as_it_was():
    """Also after the receiver has changed what it got, and until too many others have come."""
    sender, receiver = wire.Kept(), wire.Kept()
    large = [np.arange(600.0) + n for n in range(wire.KEPT + 2)]
    first, again = sender.encode(large[0]), sender.encode(large[0].copy())
    assert "value" in first and again == {"kept": first["keep"]}
    for encoded in (first, again):
        found = receiver.decode(encoded)
        np.testing.assert_array_equal(found, large[0])
        found += 1
    for one in large[1:]:
        np.testing.assert_array_equal(receiver.decode(sender.encode(one)), one)
    assert "value" in sender.encode(large[0]) and sender.encode(large[-1]) == {"kept": wire.KEPT + 2}
    for small in (np.zeros(3), (np.zeros((2, 3)), np.zeros(4)), None, "kl"):                  # a tuple: cotangents of two outputs
        assert sender.encode(small) == wire.encode(small)


def test_what_was_sent_to_a_process_is_sent_again_to_the_next_one(tmp_path):
    (tmp_path / "adapter.py").write_text("import os\ndef kl(mean_q, var_q, mean_p, var_p):\n"
                                         "    if var_p[0, 0] > 5: os._exit(1)\n    return mean_q + var_p\n")
    large, ones = np.full((600, 2), 2.0), np.ones((600, 2))
    with closing(open_source(str(tmp_path / "adapter.py"), isolate=True, timeout=20, names=frozenset({"kl"}))) as source:
        arguments = dict(mean_q=large, var_q=ones, mean_p=large, var_p=ones)
        with pytest.raises(Skip, match="to another process"):
            source.call("kl", arguments | {"var_p": object()})               # after what would have been kept
        for _ in range(2):
            np.testing.assert_array_equal(source.call("kl", arguments), 3 * ones)
        with pytest.raises(Fault):
            source.call("kl", arguments | {"var_p": 9 * ones})
        np.testing.assert_array_equal(source.call("kl", arguments), 3 * ones)
