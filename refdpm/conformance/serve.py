"""An adapter in a process of its own, as `refdpm check` has it; `remote.SERVE` starts it.

It speaks `wire` with the process that started it (`remote`).  The adapter has neither its standard input, which is empty, nor its
standard output: what it prints, from Python or from C, goes to standard error and is noted.
"""

from typing import Any
import contextlib
import ctypes
import os
import queue
import select
import sys
import threading
import time

from refdpm.conformance import wire
from refdpm.conformance.adapter import PRINTS, Fault, Local, Observed, Refusal, Skip, Unaskable, said
from refdpm.conformance.remote import local
from refdpm.conformance.unknown import unknown_functions

GRACE = 1.0                     # seconds that a call is left when the other process has gone


class CapturedOutput:
    """File descriptor 1 of the adapter: what comes there goes to standard error."""

    def __init__(self) -> None:
        self._out, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        os.set_blocking(self._out, False)
        self._lock, self._seen = threading.Lock(), False
        threading.Thread(target=self._copy, daemon=True).start()

    def was_used(self) -> bool:
        """Whether anything was printed since this was last asked, also what is still in the buffers of Python and C."""
        with contextlib.suppress(Exception):
            sys.__stdout__.flush()                     # type: ignore[union-attr]
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).fflush(None)
        self._drain()
        with self._lock:
            seen, self._seen = self._seen, False
        return seen

    def _copy(self) -> None:
        while True:
            select.select([self._out], [], [])
            self._drain()

    def _drain(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            while chunk := os.read(self._out, 65536):
                self._seen = True
                os.write(2, chunk)


def serve(text: str) -> int:
    """Answers until there is no more to be asked; 1 if the adapter cannot be loaded.

    Modules of the current folder are found, as with `python -m`, but only after those that we need ourselves.
    """
    sys.path.insert(0, os.getcwd())
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_hand_over_lines, args=(os.dup(0), requests), daemon=True).start()
    answers, nothing = os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    printed, kept, source = CapturedOutput(), wire.Kept(), None
    while (line := requests.get()) is not None:
        message = wire.message(line)
        if source is None:
            source, answer = _hello(text, message)
            printed.was_used()
        else:
            answer = _answer(source, message, printed, kept)
        _write(answers, wire.line(answer))
        if source is None:
            return 1
    return 0


def _hello(text: str, message: dict[str, Any]) -> tuple[Local | None, dict[str, Any]]:
    try:
        source = local(text, frozenset(message["names"]))
        beta = wire.encode(None if source.beta is None else source.beta[1:])
        hello = {"functions": sorted(source.offers()), "dtype": source.dtype, "profile": dict(source.stated), "beta": beta,
                 "classes": source.classes, "observes": True, "own_steps": wire.encode(source.own_steps),
                 "places": source.places,
                 "unasked": list(getattr(source, "unasked", ())),
                 "not_known": unknown_functions(source.target, frozenset(message["names"]))}
        wire.line(hello)
        return source, hello
    except BaseException as error:
        words = said(error)
        own = words.startswith("adapter:")
        return None, {"error": words if own else f"adapter: {text!r} raises {type(error).__name__}: {words}"}


def _answer(source: Local, message: dict[str, Any], printed: CapturedOutput, kept: wire.Kept) -> dict[str, Any]:
    name = message["call"]
    found = _answer_or_fault(source, name, message["arguments"], kept)
    notes = source.notes.get(name, set()) | ({PRINTS} if printed.was_used() else set())
    return {"id": message["id"]} | found | ({"notes": sorted(notes)} if notes else {})


def _answer_or_fault(source: Local, name: str, arguments: dict[str, Any], kept: wire.Kept) -> dict[str, Any]:
    try:
        given = {key: kept.decode(value) for key, value in arguments.items()}
        value = wire.encode(source.call(name, given))
        return {"value": value} | {"asked": wire.encode(one.asked) for one in given.values() if isinstance(one, Observed)}
    except Skip as skip:
        return {"error": str(skip), "kind": "skip"}
    except Fault as fault:
        kind = "unaskable" if isinstance(fault, Unaskable) else "refusal" if isinstance(fault, Refusal) else "fault"
        return {"error": str(fault), "kind": kind}
    except TypeError as error:
        return {"error": f"returns {said(error)}", "kind": "fault"}
    except BaseException as error:                     # KeyboardInterrupt: here nobody but the adapter raises it
        return {"error": f"raises {type(error).__name__}: {said(error)}".rstrip(": "), "kind": "fault"}


def _hand_over_lines(source: int, requests: "queue.SimpleQueue[bytes | None]") -> None:
    """Hands over line after line; when there are no more, ends the process, if need be in the middle of a call."""
    with open(source, "rb") as lines:
        for line in lines:
            requests.put(line)
    requests.put(None)
    time.sleep(GRACE)
    os._exit(1)


def _write(to: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(to, rest):]
