"""Precisions: their units in the last place, and how many of them an answer may be off.

An answer may lose LIMIT times what the operations of its formula lose, from exact tables, as float64 tables cast to float32 are;
and TABLES times what follows from a bound on the error of tables that are made in the adapter's own precision.  That error is one
number for each t and column, the same wherever the column stands (`textbook.rounding`):

    scale = scale of the operations + TABLES/LIMIT · scale of the tables,   error ≤ LIMIT · u · scale
"""

import numpy as np

UNITS = {"float64": 2.0 ** -53, "float32": 2.0 ** -24, "float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}
COARSE = UNITS | {"float64": 2.0 ** -24, "float32": 2.0 ** -16}      # of an answer that is inaccurate, not wrong
LEAST = {2.0 ** -53: 2.0 ** -1022, 2.0 ** -24: 2.0 ** -126, 2.0 ** -16: 2.0 ** -126, 2.0 ** -11: 2.0 ** -14, 2.0 ** -8: 2.0 ** -126}
LIMIT = 16.0                    # of error/(u·scale): the rounding of a textbook formula stays within a few
TABLES = 2.0                    # times the bound on what tables in the adapter's own precision lose


def unit_of_law(stated: str | None, answered: str) -> float:
    """u of the stated precision; where none is stated that of an inaccurate answer, for digits are judged by clauses on values."""
    return UNITS[stated] if stated else COARSE[answered]


def rounded(x: np.ndarray, dtype: str | None) -> np.ndarray:
    """Numbers as half a precision holds them; of the others as they are, because `exactly` has seen to it."""
    if dtype == "float16":
        return x.astype(np.float16).astype(np.float64)
    if dtype == "bfloat16":                                          # the upper half of the bits of a float32, to the nearest even
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)
    return x


def own_tables(dtype: str | None) -> bool:
    """Whether programs make their tables in that precision; in half a one nothing would be left of 1 − ᾱ."""
    return dtype not in ("float16", "bfloat16")
