"""Adapters in another process: a program in any language, or a Python adapter kept apart so that it can hang or die.

A call that is not answered in time ends the process; the next call starts it again.  Every process runs under a `keeper`, which
ends it, and all that it started, when this one ends in whatever way.  POSIX only.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
import weakref

import numpy as np

import refdpm
from refdpm.conformance import known, wire
from refdpm.conformance.adapter import (DTYPES, CalledNoMore, Fault, Local, Observed, Refusal, Skip, Source, Unaskable, load,
                                        own_lists, own_schedule, said, to_array, to_arrays)

KINDS = {"skip": Skip, "refusal": Refusal, "unaskable": Unaskable}                    # of errors
LIVES = 3                       # processes that one function may end before it is not called any more
STARTUP = 10.0                  # seconds that the first answer may take beside those of a call: for an interpreter to start
LOOK = 0.25                     # seconds between looks at a silent process: what it started can hold its output open
KEEPERS = 10.0                  # seconds for a keeper to end what it keeps
LAST_WORDS = 4096               # bytes of standard error that are kept
KEEPER = Path(__file__).with_name("keeper.py")
# -P and no `-m`: neither a folder nor a file there can take the place of this package
SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from refdpm.conformance.serve import serve; sys.exit(serve(sys.argv[2]))"


def open_source(text: str, *, isolate: bool, timeout: float, names: frozenset[str]) -> Source:
    """The source of "cmd:PROGRAM ARGUMENTS", or of an adapter as `adapter.load` finds it, in its own process if `isolate`.

    names are the functions that the kit knows; timeout is in seconds a call.
    Raises: ValueError if there is no such adapter, or if it is none, and says why.
    """
    if text.startswith("cmd:"):
        return Remote(_words_of(text.removeprefix("cmd:")), timeout=timeout, name=text, names=names)
    if isolate:
        home = str(Path(refdpm.__file__).parents[1])
        return Remote([*_interpreter(), "-P", "-c", SERVE, home, text], timeout=timeout, name=text, names=names)
    return local(text, names)


def _words_of(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"adapter: expected cmd:PROGRAM ARGUMENTS, got {command!r}: {error}") from None
    if not words:
        raise ValueError("adapter: expected cmd:PROGRAM ARGUMENTS, got no program")
    return words


def _interpreter() -> list[str]:
    """This Python, with the flags that it was started with."""
    return [sys.executable, *subprocess._args_from_interpreter_flags()]                # type: ignore[attr-defined]


def local(text: str, names: frozenset[str]) -> Local:
    """The source of a module or an object of this process.   Raises: ValueError if there is none, and says why."""
    with redirect_stdout(sys.stderr):
        target = load(text)
        try:
            return Local(known.adapted(target, names), name=text, names=names)
        except Exception as error:
            if said(error).startswith("adapter:"):
                raise
            raise ValueError(f"adapter: expected a module or an object with functions, got {text!r}: {said(error)}") from error


class Remote:
    """A program that speaks `wire`."""

    def __init__(self, command: list[str], *, timeout: float, name: str, names: frozenset[str]) -> None:
        """Raises: ValueError if the program does not start, or does not say what it offers."""
        self.command, self.timeout, self.name, self._names = command, timeout, name, names
        self.notes: dict[str, set[str]] = {}
        self._deaths: Counter[str] = Counter()
        self._last_fault: dict[str, str] = {}
        self._count = 0
        self._process: _Process | None = None
        try:
            hello = self._start()
            beta = hello.get("beta")
            self.beta = None if beta is None else own_schedule(to_array(wire.decode(beta)))
            self.own_steps = own_lists(wire.decode(hello.get("own_steps")))
        except Fault as fault:
            self.close()
            raise ValueError(f"adapter: expected a program that answers, got {name!r}, which {fault}") from None
        except ValueError:
            self.close()
            raise
        self._offers = frozenset(hello["functions"]) & names
        self.dtype: str | None = hello.get("dtype")
        self.stated: Mapping[str, Any] = hello.get("profile") or {}
        self.classes: int | None = hello.get("classes")
        self._observes = hello.get("observes") is True
        self.unasked = tuple(map(said, hello.get("unasked") or ()))
        self.not_known = [*(name for name in hello["functions"] if name not in names), *map(said, hello.get("not_known") or ())]
        self.places = {name: (said(file), int(line)) for name, (file, line) in (hello.get("places") or {}).items()}

    def offers(self) -> frozenset[str]:
        """See `Source`."""
        return self._offers

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """See `Source`."""
        if self._deaths[name] >= LIVES:
            raise CalledNoMore(f"{self._last_fault[name]}; {LIVES} times, and is not called any more")
        if any(isinstance(one, Observed) for one in arguments.values()) and not self._observes:
            raise Skip("the program cannot say what the network is asked")
        self._count += 1
        try:
            self._start_again()
            encode = self._kept.encode if self._observes else wire.encode
            line = wire.line({"id": self._count, "call": name, "arguments": {key: encode(part) for key, part in arguments.items()}})
            answer = self._answer_to(line)
        except TypeError as error:
            self._kept.nothing_was_sent()
            raise Skip(f"needs {error} to another process") from None
        except Fault as fault:
            self.close()
            self._deaths[name] += 1
            self._last_fault[name] = str(fault)
            raise
        for one in arguments.values():
            if isinstance(one, Observed):
                one.asked += wire.decode(answer.get("asked", {"tuple": []}))
        return self._value_of(name, answer)

    def close(self) -> None:
        """See `Source`."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _start_again(self) -> None:
        """Starts the program if it has ended."""
        if self._process is None:
            try:
                self._start()
            except ValueError as error:
                raise Fault(f"does not start again: {error}") from None

    def _answer_to(self, line: bytes) -> dict[str, Any]:
        assert self._process is not None
        said_back = self._process.exchange(line, self.timeout)
        answer = wire.message(said_back)
        if answer.get("id") != self._count or not ("value" in answer or "error" in answer):
            raise Fault(f"answers with {wire.quoted(said_back)}, expected id {self._count} and a value or an error")
        return answer

    def _value_of(self, name: str, answer: dict[str, Any]) -> Any:
        if notes := answer.get("notes"):
            self.notes.setdefault(name, set()).update(map(said, notes if isinstance(notes, list) else [notes]))
        if "error" in answer:
            raise KINDS.get(str(answer.get("kind")), Fault)(said(answer["error"]))
        value = wire.decode(answer["value"])
        return to_arrays(np.float64(value) if isinstance(value, int) and not isinstance(value, bool) else value)

    def _start(self) -> dict[str, Any]:
        """Starts the program, and gives its answer to the first message."""
        try:
            self._process, self._kept = _Process(self.command), wire.Kept()
            first = wire.line({"hello": 1, "names": sorted(self._names)})
            said_first = self._process.exchange(first, self.timeout + STARTUP)
            hello = wire.message(said_first)
            if "error" in hello:
                why = said(hello["error"])
                raise ValueError(why if why.startswith("adapter:") else f"adapter: {self.name} has nothing to check: {why!r}")
            if not _is_hello(hello):
                raise Fault(f"says {wire.quoted(said_first)}, expected functions, dtype, profile and beta")
            return hello
        except BaseException:
            self.close()
            raise


def _is_hello(hello: dict[str, Any]) -> bool:
    """Whether it says what a program offers, in the form that `wire` describes."""
    functions, classes = hello.get("functions"), hello.get("classes")
    return (isinstance(functions, list) and all(isinstance(name, str) for name in functions)
            and isinstance(hello.get("profile") or {}, dict) and _are_places(hello.get("places") or {})
            and all(isinstance(hello.get(names) or [], list) for names in ("unasked", "not_known"))
            and hello.get("dtype") in (None, *DTYPES)
            and (classes is None or isinstance(classes, int) and classes > 1))


def _are_places(found: Any) -> bool:
    """Whether it is a dict of files and lines."""
    return isinstance(found, dict) and all(isinstance(place, list) and len(place) == 2 and isinstance(place[1], int)
                                           for place in found.values())


# -- a process, and a line for a line ------------------------------------------------------------------------------------

class _Process:
    """One life of the program, with all the processes that it starts: they end together, when the pipe `life` is closed."""

    def __init__(self, command: list[str]) -> None:
        if shutil.which(command[0]) is None:
            raise Fault(f"cannot be started: there is no program {command[0]!r}")
        ends, life = os.pipe()
        try:
            self._process = subprocess.Popen([sys.executable, "-I", "-S", str(KEEPER), str(ends), *command], bufsize=0,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                             start_new_session=True, pass_fds=[ends])
        except (OSError, ValueError) as error:
            os.close(life)
            raise Fault(f"cannot be started: {error}") from None
        finally:
            os.close(ends)
        self._finish = weakref.finalize(self, _finish, self._process, life)         # also when Python ends
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (pipe.fileno() for pipe in pipes if pipe is not None)
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        self._received, self._searched, self._words = bytearray(), 0, b""

    def end(self) -> None:
        """Lets it end by itself if it does so at once."""
        if self._finish.alive and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        self._finish()

    def exchange(self, line: bytes, seconds: float) -> bytes:
        """Sends a line and waits for one.   Raises: Fault; then, and if it is interrupted, the process is ended."""
        try:
            return self._exchange(memoryview(line), seconds)
        except BaseException:
            self._finish()
            raise

    def _exchange(self, rest: memoryview, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._in, selectors.EVENT_WRITE)
            selector.register(self._out, selectors.EVENT_READ)
            selector.register(self._err, selectors.EVENT_READ)
            while rest or self._end_of_line() < 0:
                ready = [key.fd for key, _ in selector.select(min(max(deadline - time.monotonic(), 0), LOOK))]
                if not ready and self._process.poll() is not None:
                    raise Fault(self._death_text())
                if not ready and time.monotonic() >= deadline:
                    raise Fault(f"does not answer within {seconds:g} s")
                if self._err in ready and not self._hear():
                    selector.unregister(self._err)
                if self._out in ready:
                    self._receive()
                if self._in in ready:
                    rest = self._send(rest)
                    if not rest:
                        selector.unregister(self._in)
        end = self._end_of_line()
        found = bytes(self._received[:end])
        del self._received[:end + 1]
        self._searched = 0
        return found

    def _send(self, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(self._in, rest):]
        except BlockingIOError:
            return rest
        except BrokenPipeError:                        # what it had to say before is still to be read
            return rest[:0]

    def _receive(self) -> None:
        chunk = _available_bytes(self._out)
        if chunk == b"":
            raise Fault(self._death_text())
        self._received += chunk or b""
        if len(self._received) > wire.LONGEST:
            raise Fault(f"answers with more than {wire.LONGEST >> 20} MB: {wire.quoted(bytes(self._received[:300]))}")

    def _hear(self) -> bool:
        """Keeps the end of what comes on standard error; False if no more will come."""
        chunk = _available_bytes(self._err)
        self._words = (self._words + (chunk or b""))[-LAST_WORDS:]
        return chunk != b""

    def _end_of_line(self) -> int:
        end = self._received.find(b"\n", self._searched)
        self._searched = len(self._received) if end < 0 else end
        return end

    def _death_text(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        while chunk := _available_bytes(self._err):
            self._words = (self._words + chunk)[-LAST_WORDS:]
        words = self._words.strip().splitlines()[-1:]
        return _exit_text(self._process.returncode) + "".join(f"; the last it wrote: {wire.quoted(word, 200)}" for word in words)


def _exit_text(code: int | None) -> str:
    if code is None:
        return "closed its standard output"
    if code < 0:
        with suppress(ValueError):
            return f"its process ended with {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"


def _available_bytes(pipe: int) -> bytes | None:
    """What there is: b"" at the end, None if there is nothing yet."""
    try:
        return os.read(pipe, 2 ** 18)
    except BlockingIOError:
        return None


def _finish(process: "subprocess.Popen[bytes]", life: int) -> None:
    """Lets the keeper kill the process with all that it started, and buries it."""
    os.close(life)
    with suppress(subprocess.TimeoutExpired):
        process.wait(KEEPERS)
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
