"""What a command says: results on standard output, everything else on standard error."""

from typing import Any
import json
import os
import re
import sys

LONGEST = 1500                # characters of a message on one line
# what a terminal obeys instead of showing: all control characters but the end of a line, and halves of characters
_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: str) -> None:
    """To standard output; whoever closed it has seen enough, and a character that it does not know becomes a question mark."""
    _print(text, "stdout")


def tell(text: str) -> None:
    """To standard error, if there is one that listens."""
    _print(text, "stderr")


def _print(text: str, name: str) -> None:
    stream = getattr(sys, name)
    if stream is None:                                 # it was closed before Python began
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(visible(text).encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except (BrokenPipeError, ValueError) if name == "stdout" else (OSError, ValueError):
        setattr(sys, name, open(os.devnull, "w"))


def visible(text: str) -> str:
    """The text with what a terminal would obey written as it is written in a program: \\x1b."""
    return _OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A message as one line that is not too long."""
    line = visible(text.strip().replace("\n", "\\n"))
    return line if len(line) <= LONGEST else line[:LONGEST - 1] + "…"


def to_json(report: dict[str, Any] | list[Any], **options: Any) -> str:
    """One line of JSON, without NaN."""
    return json.dumps(report, allow_nan=False, default=float, **options)
