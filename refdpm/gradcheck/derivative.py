"""The derivative in one direction, by the complex step and by differences, and the gap between it and an adjoint.

The complex step is exact to rounding where f is analytic, and silently wrong where it is not: |x|, and every norm that is written
with it, have no derivative in the complex plane.  Differences need no complex number, lose digits, and say how many: their error
is estimated from the extrapolation itself.  Where the two agree within that estimate, the complex step is the better one.
"""

from collections.abc import Callable

import numpy as np

from refdpm.vjp import Array, Tree, leaves, tree_map

STEP = 1e-20           # of the complex step
GAP = 1e-13            # adjoint gap by the complex step
FLOOR = 1e-2           # derivatives below FLOOR·‖w‖‖v‖ are judged absolutely, in units of it: see `relative_gap`
FIRST = 2.0 ** -4      # of the differences: the first step, divided by 4 again and again
LEVELS = 7
SAFETY = 10.0          # an error may be so many times its estimate
UNIT = 2.0 ** -53


def random_like(tree: Tree, rng: np.random.Generator) -> Tree:
    """A tree of standard normal numbers with the structure and shapes of `tree`."""
    return tree_map(lambda leaf: rng.standard_normal(np.shape(leaf)), tree)


def inner(a: Tree, b: Tree) -> float:
    """⟨a, b⟩ = Σ a_i b_i over all leaves; no conjugate."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return 0.0 + (a * b).sum()
    return sum(((x * y).sum() for x, y in zip(leaves(a), leaves(b), strict=True)), start=0.0)


def norm(a: Tree) -> float:
    """√⟨a, a⟩ of a real tree."""
    return float(np.sqrt(inner(a, a)))


def vector(tree: Tree) -> Array:
    """All numbers of a tree in one vector."""
    return np.concatenate([np.zeros(0), *(np.ravel(leaf) for leaf in leaves(tree))])


def directional(f: Callable[[Tree], Tree], x: Tree, v: Tree) -> Tree:
    """J v at x by the complex step."""
    shifted = tree_map(lambda a, d: a + 1j * STEP * d, x, v)
    return tree_map(lambda y: np.imag(y) / STEP, f(shifted))


def differences(f: Callable[[Tree], Tree], x: Tree, v: Tree, *, unit: float = UNIT) -> tuple[Array, float]:
    """J v at x as one vector, by Richardson's extrapolation of central differences, and an estimate of the norm of its error.

    Of all steps and orders the answer is the one that changed least from its two predecessors.  That change, and what the rounding
    of f does to the difference, is the estimate; how much f rounds is seen where the steps are too small for anything
    else.  A step that leaves the domain of f is left out.  At a kink there is no derivative, and the estimate is infinite.
    """
    centre = vector(f(x))
    best, error = np.full(centre.shape, np.nan), float("inf")
    steps, bends = _extrapolations(f, x, v, centre)
    noise = max([2 * unit * norm(centre), *(h * norm(row[2] - old[2]) for h, row, old in steps[-3:] if len(old) > 2)])
    for h, row, old in steps:
        for power in range(1, len(row)):
            change = max(norm(row[power] - row[power - 1]), norm(row[power] - old[power - 1])) + noise / h + unit * norm(row[power])
            if change < error:
                best, error = row[power], change
    bends = [bend if bend > 30 * (noise / h + unit * norm(row[0])) else 0.0 for (h, row, _), bend in zip(steps, bends)]
    return best, float("inf") if _is_kink(bends) else error


def _extrapolations(f: Callable[[Tree], Tree], x: Tree, v: Tree, centre: Array
                    ) -> tuple[list[tuple[float, list[Array], list[Array]]], list[float]]:
    """For every step its size, its differences of order 2, 4, …, and those of the step before; and how far its two sides differ."""
    steps: list[tuple[float, list[Array], list[Array]]] = []
    bends: list[float] = []
    for h in FIRST / 4.0 ** np.arange(LEVELS):
        above, below = (_at(f, x, v, side * h) for side in (1, -1))
        row = [(above - below) / (2 * h)]
        if not np.all(np.isfinite(row[0])):
            steps, bends = [], []
            continue
        old = steps[-1][1] if steps else []
        for power, coarse in enumerate(old, start=1):
            row.append(row[-1] + (row[-1] - coarse) / (16.0 ** power - 1))
        steps.append((h, row, old))
        bends.append(norm(above - 2 * centre + below) / (2 * h))
    return steps, bends


def _at(f: Callable[[Tree], Tree], x: Tree, v: Tree, h: float) -> Array:
    """f at x + h v as one vector; not a number where it refuses that."""
    try:
        with np.errstate(all="ignore"):
            return vector(f(tree_map(lambda a, d: a + h * d, x, v)))
    except ValueError:
        return np.full(1, np.nan)


def _is_kink(bends: list[float]) -> bool:
    """Whether the one-sided derivatives differ by the same for all small steps; the difference is O(h) if f is smooth."""
    last = np.array(bends[-4:])
    return bool(len(last) == 4 and np.all(last[1:] > 0.6 * last[:-1]) and np.all(last[1:] < 1.7 * last[:-1]))


def discrepancy(w: Tree, jv: Tree, jtw: Tree, v: Tree) -> float:
    """The gap of `relative_gap` with its sign."""
    scale = scale_of(w, jv, jtw, v)
    if not np.isfinite(scale):
        return float("inf")
    return float((inner(w, jv) - inner(jtw, v)) / scale) if scale > 0 else 0.0


def relative_gap(w: Tree, jv: Tree, jtw: Tree, v: Tree) -> float:
    """|⟨w, J v⟩ − ⟨Jᵀw, v⟩| / (‖w‖‖J v‖ + ‖Jᵀw‖‖v‖); ∞ where a derivative is not finite.

    Where J vanishes, only the rounding errors of terms that cancel are left to compare; so the denominator is not taken below
    FLOOR·‖w‖‖v‖, and an error in J smaller than GAP·FLOOR = 1e-15 is not seen.
    """
    return abs(discrepancy(w, jv, jtw, v))


def scale_of(w: Tree, jv: Tree, jtw: Tree, v: Tree) -> float:
    """The denominator of the gap."""
    return max(norm(w) * norm(jv) + norm(jtw) * norm(v), norm(w) * norm(v) * FLOOR)
