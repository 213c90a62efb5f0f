"""Clauses that fail for now, each with the reason: as a dict in Python, or in a file with a line CLAUSE REASON for each.

A misspelt clause would expect nothing, and nobody would see it: it is an error.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path

from refdpm.data.files import text_of


def with_reasons(expected: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Clause → reason; `known` are the ids of all clauses.   Raises: ValueError for what is no clause, or has no reason."""
    if not isinstance(expected, Mapping):
        raise ValueError(f"expected_failures: expected a dict from clauses to reasons, got {type(expected).__name__}")
    for id, reason in expected.items():
        if id not in known:
            raise ValueError(f"expected_failures: expected a clause (refdpm explain all lists them), "
                             f"got {id!r}{hint(str(id), known)}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"expected_failures: expected the reason why {id} fails, got {reason!r}")
    return dict(expected)


def from_file(path: Path, known: Collection[str], *, flag: str) -> dict[str, str]:
    """The same from lines CLAUSE REASON; empty lines, and those that begin with #, are left out.

    Raises: ValueError naming the flag, the file and the line; OSError.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        id, _, reason = line.strip().partition(" ")
        if not id or id.startswith("#"):
            continue
        if id not in known:
            raise ValueError(f"{flag}: expected a clause (refdpm explain all lists them) in line {number} of {path}, "
                             f"got {id!r}{hint(id, known)}")
        if not reason.strip():
            raise ValueError(f"{flag}: expected CLAUSE REASON in line {number} of {path}, got {line!r}")
        found[id] = reason.strip()
    return found


def hint(id: str, known: Collection[str]) -> str:
    """What may be meant by an id that there is not."""
    near = get_close_matches(id.upper(), sorted(known), n=1)
    return f"; is {near[0]} meant?" if near else ""
