"""What a command says: results on standard output, everything else on standard error."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
import json
import math
import os
import re
import sys
import time

from refdpm.html import shortened

LONGEST = 1500                # characters of a message on one line
RED, GREEN, YELLOW, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
# what a terminal obeys instead of showing: all control characters but the end of a line, and halves of characters
_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: str, *, colours: Mapping[str, str] = MappingProxyType({})) -> None:
    """To standard output; whoever closed it has seen enough, and a character that it does not know becomes a question mark.

    `colours`: words that a line may begin with, and what makes a terminal show them in a colour.
    """
    _print(text, "stdout", colours)


def keep_no_folder() -> None:
    """Hypothesis would make a folder in the current one."""
    from hypothesis import configuration
    configuration.set_hypothesis_home_dir(os.devnull)      # where nothing can be kept


def add_workers(sub: Any, text: str = "share the work among N processes, -1: one for each core; the results are the same") -> None:
    """The flag for several processes."""
    sub.add_argument("--workers", type=int, default=1, metavar="N", help=text)


def tell(text: str) -> None:
    """To standard error, if there is one that listens."""
    _print(text, "stderr")


def _print(text: str, name: str, colours: Mapping[str, str] = MappingProxyType({})) -> None:
    stream = getattr(sys, name)
    if stream is None:                                 # it was closed before Python began
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = visible(text)
    if colours and has_colours(stream):
        begins = re.compile(rf"^( *)({'|'.join(map(re.escape, colours))})\b", re.MULTILINE)
        shown = begins.sub(lambda found: f"{found[1]}{colours[found[2]]}{found[2]}{PLAIN}", shown)
    try:
        print(shown.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except (BrokenPipeError, ValueError) if name == "stdout" else (OSError, ValueError):
        setattr(sys, name, open(os.devnull, "w"))


def has_colours(stream: Any) -> bool:
    """Whether a stream is a terminal whose user has nothing against colours (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal(stream: Any) -> bool:
    """Whether somebody looks at a stream."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):                # none, or a closed one
        return False


class Progress:
    """What is going on, in a line on standard error that is written over; on terminals only, and only for what takes seconds."""

    PATIENCE, PAUSE = 2.0, 0.1                          # seconds before the first line, and between two

    def __init__(self, *, quiet: bool = False) -> None:
        self._next, self._is_shown = math.inf if quiet else time.monotonic() + self.PATIENCE, False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._write("")

    def show(self, text: str) -> None:
        """This in place of what was shown before."""
        if time.monotonic() >= self._next and is_terminal(sys.stderr):
            self._write(shortened(visible(text), 77))
            self._next, self._is_shown = time.monotonic() + self.PAUSE, True

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()


def visible(text: str) -> str:
    """The text with what a terminal would obey written as it is written in a program: \\x1b."""
    return _OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A message as one line that is not too long."""
    line = visible(text.strip().replace("\n", "\\n"))
    return shortened(line, LONGEST - 1)


def to_json(report: dict[str, Any] | list[Any], **options: Any) -> str:
    """One line of JSON, without NaN."""
    return json.dumps(report, allow_nan=False, default=float, **options)
