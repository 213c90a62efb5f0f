"""Mistakes in the tables that most programs keep: β_t, α_t, ᾱ_t and ᾱ_{t−1}, each for itself.

`gaussian` has no table of ᾱ_{t−1} that could disagree with its ᾱ_t, so that a wrong one is no wrong variant of any of its
functions.  It is one of the textbook's columns, which every formula takes from `textbook.page.table_of`.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from refdpm.conformance.planting import Mistake, Plant
from refdpm.vjp import Array

Columns = dict[str, Array]


def _tables(change: Callable[[Array], Columns]) -> Plant:
    """Other entries in some of the tables: change(beta (T+1,)) → tables over t = 0..T, by the names of the columns."""
    def plant(right: Callable[..., Any]) -> Callable[..., Any]:
        def table_of(name: str, shift: int, beta: Array) -> Array:
            changed = change(beta).get(name + {0: "", -1: "_prev"}.get(shift, "_elsewhere"))
            return right(name, shift, beta) if changed is None else np.array([Decimal(float(x)) for x in changed], dtype=object)
        return table_of
    return plant


def _levels(beta: Array) -> Array:
    return np.cumprod(1 - beta)


def _before(level: Array) -> Array:
    """Entry t is ᾱ_{t−1}; the first is of no use."""
    return np.concatenate([[1.0], level[:-1]])


def _at_first(value: Callable[[Array], float]) -> Plant:
    """Another ᾱ_{t−1} at t = 1."""
    def change(beta: Array) -> Columns:
        before = _before(_levels(beta))
        before[1] = value(_levels(beta))
        return {"alpha_bar_prev": before}
    return _tables(change)


def _half(beta: Array) -> Columns:
    level = _levels(beta).astype(np.float16).astype(np.float64)
    return {"alpha_bar": level, "alpha_bar_prev": _before(level)}


def _product_of_rates(beta: Array) -> Columns:
    level = np.concatenate([[1.0], np.cumprod(beta[1:])])
    return {"alpha_bar": level, "alpha_bar_prev": _before(level)}


_PLACE = "textbook.page.table_of"

MISTAKES = (
    Mistake("SCH-01b", "table of ᾱ_{t−1} padded on the right, so that it holds ᾱ_t → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _PLACE, "clause",
            _tables(lambda beta: {"alpha_bar_prev": _levels(beta)})),
    Mistake("SCH-01c", "table of ᾱ_{t−1} with a 1 behind and no ᾱ_1, so that it holds ᾱ_{t+1} → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _PLACE, "clause",
            _tables(lambda beta: {"alpha_bar_prev": np.concatenate([_levels(beta)[1:], [1.0]])})),
    Mistake("SCH-01d", "table of ᾱ_{t−1} with a 0 behind and no ᾱ_1, so that it holds ᾱ_{t+1} → 1 in front, ᾱ_T left out",
            "lucidrains/denoising-diffusion-pytorch#18", _PLACE, "clause",
            _tables(lambda beta: {"alpha_bar_prev": np.concatenate([_levels(beta)[1:], [0.0]])})),
    Mistake("SCH-02b", "ᾱ_{t−1} at t = 1 is the first entry of the table, ᾱ_1 → 1",
            "CompVis/stable-diffusion@21f890f", _PLACE, "clause", _at_first(lambda level: float(level[1]))),
    Mistake("POS-07b", "index t − 1 = −1 of a table that starts at ᾱ_1 wraps to ᾱ_T at the first step → ᾱ_0 = 1",
            "paulffm/Deep-Unsupervised-Learning-…-Reimplementation@de346e8", _PLACE, "clause",
            _at_first(lambda level: float(level[-1]))),
    Mistake("REV-22b", "ᾱ_0 = 0.999 written down → 1",
            "gmongaras/Diffusion_models_from_scratch@99617c6", _PLACE, "clause", _at_first(lambda level: 0.999)),
    Mistake("REV-07b", "∏ (1 − β) over s < t, without its own factor → s ≤ t",
            "gmongaras/Diffusion_models_from_scratch@65ebc69", _PLACE, "clause",
            _tables(lambda beta: {"alpha_bar": _before(_levels(beta)), "alpha_bar_prev": _before(_before(_levels(beta)))})),
    Mistake("SCH-14b", "ᾱ = ∏ β → ∏ (1 − β)",
            "LuChengTHU/dpm-solver#13", _PLACE, "clause", _tables(_product_of_rates)),
    Mistake("SCH-19b", "table of ᾱ in half precision → in the precision of everything else",
            "AUTOMATIC1111/stable-diffusion-webui#14071", _PLACE, "clause", _tables(_half)),
    Mistake("NEW-TABLE-NEXT", "every table at t + 1 → at t",
            "an index from 0 for a table from 1", _PLACE, "clause",
            _tables(lambda beta: {"beta": np.append(beta[1:], beta[-1]), "alpha": 1 - np.append(beta[1:], beta[-1]),
                                  "alpha_bar": np.append(_levels(beta)[1:], _levels(beta)[-1]), "alpha_bar_prev": _levels(beta)})),
    Mistake("NEW-TABLE-BEFORE", "every table at t − 1 → at t",
            "an index from 1 for a table from 0", _PLACE, "clause",
            _tables(lambda beta: {"beta": np.append(beta[-1:], beta[:-1]), "alpha": 1 - np.append(beta[-1:], beta[:-1]),
                                  "alpha_bar": _before(_levels(beta)), "alpha_bar_prev": _before(_before(_levels(beta)))})),
)
