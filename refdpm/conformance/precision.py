"""Precisions: their units in the last place, and how many of them an answer may be off."""

UNITS = {"float64": 2.0 ** -53, "float32": 2.0 ** -24, "float16": 2.0 ** -11}
COARSE = {"float64": 2.0 ** -24, "float32": 2.0 ** -16, "float16": 2.0 ** -11}     # of an answer that is inaccurate, not wrong
LEAST = {2.0 ** -53: 2.0 ** -1022, 2.0 ** -24: 2.0 ** -126, 2.0 ** -16: 2.0 ** -126, 2.0 ** -11: 2.0 ** -14}        # normal numbers
LIMIT = 32.0                    # of error/(u·scale): the rounding of a textbook formula stays within a few
