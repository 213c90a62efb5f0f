"""The textbook: every formula once, as it is printed, as an expression with several readings.

    expression                     what a formula is made of
    page                           the arguments, and the schedule's columns at every row's t
    values, digits, rounding       what it is worth in float64, in as many digits as it takes, and how much an evaluation may lose
    edits, slope, written          every single change of it, its derivative, and how it is printed

    chain, bits, symbols …         the formulas, topic by topic

Nothing here is imported from the theory, which the textbook judges as it judges every adapter.  What judges the textbook are the
identities between its formulas (Bayes, Chapman and Kolmogorov, telescoping, normalisation), in digits.
"""

from collections.abc import Callable
from typing import Any
import importlib
import pkgutil


def pairs() -> dict[str, Callable[..., Any]]:
    """Every formula that judges a function of the package: its name there, and the formula as a function of the same arguments."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= getattr(importlib.import_module(f"{__name__}.{module.name}"), "PAIRS", {})
    return found
