"""Precisions: their units in the last place, and how many of them an answer may be off.

An answer is measured against two habits of rounding (`textbook.rounding`):  from exact tables, which float64 tables cast to float32
are, it may lose LIMIT times what the formula's operations lose; and from tables that were made in the adapter's own precision what
a bound on that loses, TABLES times.  The bound holds for every table of T products, so that a small factor is enough:

    scale = scale of exact tables + TABLES/LIMIT · scale of its own tables,   error ≤ LIMIT · u · scale
"""

UNITS = {"float64": 2.0 ** -53, "float32": 2.0 ** -24, "float16": 2.0 ** -11}
COARSE = {"float64": 2.0 ** -24, "float32": 2.0 ** -16, "float16": 2.0 ** -11}     # of an answer that is inaccurate, not wrong
LEAST = {2.0 ** -53: 2.0 ** -1022, 2.0 ** -24: 2.0 ** -126, 2.0 ** -16: 2.0 ** -126, 2.0 ** -11: 2.0 ** -14}        # normal numbers
LIMIT = 32.0                    # of error/(u·scale): the rounding of a textbook formula stays within a few
TABLES = 4.0                    # times the bound on what tables in the adapter's own precision lose
