"""A number in a formula that is not known, found from one number of an answer: somebody has 7 for ρ, or 0.999 times t.

Only numbers count that people write down, of a few digits, or one over such a number.  What is found explains one number of an
answer by itself; `naming` asks whether it explains all the others too.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from refdpm.conformance.symptoms import Failure
from refdpm.vjp import Array

STARTS = ((1.0, 2.0), (0.3, 0.4))  # of the secant method
STEPS = 30                      # of it, at most
CLOSE = 1e-5                    # of the error that has to be explained
DIGITS = 4                      # that a number has which somebody writes down
SIZES = (1e-12, 1e12)           # between which it is
MORE = 1e-5                     # relative, that it may seem to have more


def fitting_number(values: Callable[[float], tuple[Array, ...]], failure: Failure) -> float | None:
    """The number with which `values` gives the worst number of a failure, if somebody may have written it; 0 and 1 are none."""
    at, entry = _worst(failure)
    came, right = (getattr(failure.parts[at], name)[entry] for name in ("observed", "expected"))

    def value(number: float) -> float:
        with suppress(ValueError, IndexError, ArithmeticError):    # a formula that can say nothing there
            found = np.asarray(values(number)[at] if np.isfinite(number) else np.nan)
            if found.shape in ((), failure.parts[at].observed.shape):
                return float(found[entry if found.ndim else ()])
        return np.nan

    near = CLOSE * abs(came - right)
    for starts in STARTS:
        found = _root(lambda number: value(number) - came, near, starts)
        if np.isnan(found) and came:                               # it may stand in an exponent
            found = _root(lambda number: np.log(value(number) / came), near / abs(came), starts)
        written = (_short(found), 1 / _short(1 / found)) if SIZES[0] <= abs(found) <= SIZES[1] else ()
        number = next((one for one in written if abs(one - found) <= MORE * abs(found) and one != 1), None)
        if number is not None:
            return number
    return None


def _worst(failure: Failure) -> tuple[int, tuple[int, ...]]:
    """The number of an output, and the entry of it, that is furthest off of all that came."""
    far = []
    for part in failure.parts:
        with np.errstate(all="ignore"):
            distance = np.abs((part.observed - part.expected) / part.unit)
        far.append(np.where(np.isfinite(distance), distance, 0.0))
    at = int(np.argmax([one.max(initial=0.0) for one in far]))
    return at, tuple(int(i) for i in np.unravel_index(np.argmax(far[at]), far[at].shape))


def _short(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _root(f: Callable[[float], float], near: float, starts: tuple[float, float]) -> float:
    """Where f is 0; NaN where the secant method does not get there."""
    from scipy.optimize import root_scalar                         # see `optimize`: what has another name does not wait for it
    before, x = starts
    found = root_scalar(f, method="secant", x0=before, x1=x, maxiter=STEPS)
    return float(found.root) if abs(f(found.root)) <= near else np.nan
