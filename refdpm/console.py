"""What a command says: results on standard output, everything else on standard error."""

from typing import Any
import contextlib
import json
import os
import sys


def say(text: str) -> None:
    """To standard output; whoever closed it has seen enough, and a character that it does not know becomes a question mark."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")


def tell(text: str) -> None:
    """To standard error, if there is one that listens."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError):
        print(text.encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)


def to_json(report: dict[str, Any] | list[Any], **options: Any) -> str:
    """One line of JSON, without NaN."""
    return json.dumps(report, allow_nan=False, default=float, **options)
