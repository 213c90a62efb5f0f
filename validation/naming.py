"""Claim: of the catalogue's mistakes, planted one after another in a float32 implementation, the conformance kit finds every one
that any of its clauses can see, and in at least 95 % of the cases the first failing clause names the mistake that was planted, or
one that gives the same answers on all inputs tried; and it raises no alarm without a mistake, in float32 and float64.

The implementation is this package's own functions in float32 (`conformance.reference`), for mistakes in tables the textbook's
formulas; mistakes of rounding, which float32 hides by its nature, are planted in float64.  The conventions are stated; with --full
they are inferred anew for every planted mistake, from all functions.

    python validation/naming.py [--full]
"""

import argparse
import sys
import time

from claim import claim_of, conclude, row

from refdpm.conformance import session as kit
from refdpm.conformance.chapters import QUANTITIES
from refdpm.conformance.judge import Effort
from refdpm.conformance.matrix import matrix
from refdpm.conformance.mistakes import MISTAKES
from refdpm.conformance.profile import VALUES, Profile
from refdpm.conformance.reference import Reference

EFFORT = Effort(max_examples=5, shrinks=0)
CHOICES = dict.fromkeys(name for function in QUANTITIES for name in function.choices)
OTHERS = [(name, value) for name in CHOICES for value in VALUES[name] if value != getattr(Profile(), name)]
PROFILES = [Profile(), *(Profile(**{name: value}) for name, value in OTHERS)]


def named(mistake, clauses, *, full):
    """The first failing clause of the planted implementation: its id, verdict, the names given.

    Some mistakes show only in what a choice of the profile leads to; our own choices are tried first.
    """
    dtype = "float64" if mistake.kind == "accuracy" else "float32"
    for profile in PROFILES:
        source = Reference(dtype, mistake, profile=profile, tables=mistake.kind == "clause")
        session = kit.Session(source, effort=EFFORT, profile=None if full else profile._asdict())
        for id, of in kit.all_clauses():
            if full or id in clauses:
                result = kit.Clause(session, id, of).result
                if result.verdict in ("wrong", "inaccurate"):
                    return id, result.verdict, (result.mistake, *result.also) if result.mistake else (), result.runner_up
    return None, "pass", (), None


def false_alarms():
    """The clauses that fail on the implementation as it is."""
    return [f"{clause['id']} ({dtype})" for dtype in ("float32", "float64")
            for clause in kit.check(Reference(dtype))["clauses"] if clause["verdict"] in ("wrong", "inaccurate")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    started, seen = time.perf_counter(), matrix()
    found, missed, misnamed = 0, [], []
    planted = [mistake for mistake in MISTAKES if mistake.id in seen]
    for number, mistake in enumerate(planted):
        id, verdict, names, nearest = named(mistake, seen[mistake.id], full=options.full)
        found += mistake.id in names
        if verdict == "pass":
            missed.append(mistake.id)
        elif mistake.id not in names:
            misnamed.append(f"{mistake.id} at {id}: {names or nearest}")
            print(misnamed[-1], file=sys.stderr)
        if number % 50 == 0:
            print(f"{number}/{len(planted)}", file=sys.stderr)
    alarms = false_alarms()
    rows = [row(f"{len(planted) - len(missed)} of {len(planted)} caught; missed: {missed or 'none'}", "all", not missed),
            row(f"{found} of {len(planted)} named first: {100 * found / len(planted):.1f} %; "
                f"not: {'; '.join(misnamed) or 'none'}", "at least 95 %", found >= 0.95 * len(planted)),
            row(f"false alarms: {alarms or 'none'}", "none", not alarms)]
    return conclude("naming" + "_full" * options.full, claim_of(__doc__), rows, seconds=time.perf_counter() - started,
                    settings={"max_examples": EFFORT.max_examples, "inferred": options.full})


if __name__ == "__main__":
    sys.exit(main())
