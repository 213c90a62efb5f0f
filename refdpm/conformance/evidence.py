"""What is shown of a failure: a few numbers that came, beside those that should have come; and texts that are fit to be printed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from refdpm.html import UNFIT, length_in_all, shortened
from refdpm.vjp import Array

SMALL = 12                                                  # numbers of an input that are shown all
FEW = 6                                                     # numbers of an answer that are shown
LONGEST = 400                                               # characters of a text from the adapter


def tidy(text: Any, longest: int = LONGEST) -> str:
    """A text without control characters, cut behind a word where it is long."""
    found = str(text)
    cut = shortened(found, longest) + f" ({length_in_all(found)} characters in all)" * (len(found) > longest)
    return UNFIT.sub("\ufffd", cut)


def few_numbers(observed: Array | None, right: Array | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`observed` and `right` around the worst entry, and `shown`, which says where that is: "answer[1, 0:2], where t = 3"."""
    if right is None or observed is not None and np.shape(observed) != np.shape(right):
        return {"observed": _plain(observed), "right": _plain(right), "shown": ""}
    worst = _worst_entry(right if observed is None else observed, right)
    place = _slice_around(worst, np.shape(right))
    return {"observed": _plain(observed, place), "right": _plain(right, place), "shown": _place_text(worst, place, inputs)}


def _worst_entry(observed: Array, right: Array) -> tuple[int, ...]:
    """Where the answer is furthest off, relative to the largest entry of its row; what is no number is furthest of all."""
    if not np.size(right):
        return ()
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(observed, dtype=np.float64) - right)
        size = np.abs(right) if right.ndim < 2 else np.max(np.abs(right), axis=tuple(range(1, right.ndim)), keepdims=True)
        share = np.where(np.asarray(observed) == right, 0.0, error / np.maximum(size, np.finfo(np.float64).tiny))
    share = np.where(np.isnan(share), np.inf, share)
    return tuple(int(at) for at in np.unravel_index(int(np.argmax(share)), right.shape))


def _slice_around(worst: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The row of the worst entry along the last axis, or as much of it as is shown."""
    if not worst:
        return ()
    start = max(0, min(worst[-1] - FEW // 2, shape[-1] - FEW))
    return (*worst[:-1], slice(start, min(start + FEW, shape[-1])))


def _place_text(worst: tuple[int, ...], place: tuple[Any, ...], inputs: Mapping[str, Any]) -> str:
    if not worst:
        return ""
    index = ", ".join(f"{one.start}:{one.stop}" if isinstance(one, slice) else str(one) for one in place)
    return f"answer[{index}]{_t_text(worst, place, inputs.get('t'))}"


def _t_text(worst: tuple[int, ...], place: tuple[Any, ...], t: Any) -> str:
    """At which t the rows shown are, if each row has its own."""
    rows = place[0] if len(place) == 1 else slice(worst[0], worst[0] + 1)
    if not isinstance(t, np.ndarray) or t.ndim != 1 or worst[0] >= len(t):
        return ""
    return f", where t = {', '.join(str(one) for one in t[rows])}"


def _plain(value: Array | None, place: tuple[Any, ...] = ()) -> list[Any] | None:
    """At most a few numbers, as JSON can hold them."""
    if value is None:
        return None
    part = np.ravel(np.asarray(value)[place] if np.size(value) else value)[:FEW]
    return [one if np.isfinite(one) else str(one) for one in part.astype(np.float64).tolist()]


def in_digits(came: list[Any], right: list[Any]) -> tuple[str, str]:
    """Both rows of numbers, with as many digits as it takes to see where they differ."""
    for digits in (5, 8, 11, 17):
        texts = [[one if isinstance(one, str) else f"{one:z.{digits}g}" for one in row] for row in (came, right)]
        if all(a != b for a, b, x, y in zip(*texts, came, right) if x != y):
            break
    return ", ".join(texts[0]), ", ".join(texts[1])


def inputs_text(inputs: Mapping[str, Any]) -> str:
    """Inputs as a reader wants them: small ones as they are, large ones by their shape and how they begin."""
    return ", ".join(f"{name} = {_input_text(value)}" for name, value in inputs.items())


def _input_text(value: Any) -> str:
    if isinstance(value, dict):
        return "a network that is affine in x_t"
    if not isinstance(value, list):
        return tidy(value, 60)
    try:
        array = np.array(value)
    except ValueError:                                      # several of different shapes
        return tidy(value, 60)
    if array.size <= SMALL:
        return _nested_text(value)
    start = ", ".join(f"{one:.4g}" for one in array.ravel()[:FEW])
    return f"an array of shape {array.shape}: {start}, …"


def _nested_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_nested_text, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
