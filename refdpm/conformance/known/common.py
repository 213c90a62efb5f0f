"""What the ready-made adapters share: the schedule and the precision of an object, and arrays in its framework."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from typing import Any
from unittest import mock
import sys

import numpy as np

from refdpm.conformance.adapter import to_array
from refdpm.vjp import Array

LONG = 50                       # steps of a chain that is not run: its steps are asked for one by one
NEAR = 1e-5                     # how far β and ᾱ_t/ᾱ_{t−1} may be apart and still be the same, rounded


def array_of(table: Any) -> Callable[[Array], Any] | None:
    """What turns NumPy's arrays into those of the framework of a table; None if that is NumPy itself."""
    framework = type(table).__module__.split(".")[0]
    if framework == "torch":
        as_tensor: Callable[[Array], Any] = sys.modules["torch"].as_tensor
        return as_tensor
    if framework in ("jax", "jaxlib"):
        return lambda array: sys.modules["jax"].numpy.asarray(array)
    return None


def precision(table: Any) -> str:
    """The name of a table's precision."""
    return str(to_array(table).dtype.name)


def rates(betas: Any, alphas_cumprod: Any) -> Array:
    """β (T,) as the object has it.

    1 − β of a rate near 1, rounded to the object's precision, has lost digits that ᾱ may still have; there β is 1 − ᾱ_t/ᾱ_{t−1},
    if that is the same.
    """
    beta, again = to_array(betas).astype(np.float64), rates_of(alphas_cumprod)
    return np.where((beta > 0.5) & (np.abs(again - beta) < NEAR), again, beta)


def rates_of(alphas_cumprod: Any) -> Array:
    """1 − ᾱ_t/ᾱ_{t−1}, (T,)."""
    level = to_array(alphas_cumprod).astype(np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(1 - level / np.concatenate([[1.0], level[:-1]]))


def attribute(of: Any, name: str) -> Any:
    """What an object has under a name.   Raises: NotImplementedError if it has nothing there."""
    if not hasattr(of, name):
        raise NotImplementedError(f"there is no {name}")
    return getattr(of, name)


def ask(of: Any, name: str, *given: Any, **named: Any) -> Any:
    """What a method of an object returns.

    Raises: NotImplementedError if there is none, or one that takes other arguments: that is no answer, and no verdict.
    """
    function = attribute(of, name)
    try:
        signature(function).bind(*given, **named)
    except TypeError as error:
        raise NotImplementedError(f"its {name} takes other arguments: {error}") from None
    except ValueError:                                          # it does not say what it takes
        pass
    return function(*given, **named)


def method(name: str, *arguments: str, keep: int | None = None, **named: str) -> Callable[..., Any]:
    """A function of an adapter that hands on what it is asked to a method of the object, or looks up a table of it.

    `arguments` are in the order of the method, `named` by its names; of a tuple the first `keep` parts are given.
    """
    def call(self: Any, **given: Any) -> Any:
        found = attribute(self.of, name)
        if not callable(found):
            return found
        value = ask(self.of, name, *(given[one] for one in arguments), **{key: given[one] for key, one in named.items()})
        return value if keep is None else value[:keep]

    own = [Parameter(one, Parameter.KEYWORD_ONLY) for one in (*arguments, *named.values())]
    setattr(call, "__signature__", Signature([Parameter("self", Parameter.POSITIONAL_ONLY), *own]))
    call.__doc__ = f"`{name}`."
    return call


def unasked(of: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those parts of an interface that an object has and no clause looks at."""
    return tuple(name for name in names if hasattr(of, name))


def pixels(x: Any) -> Any:
    """States as images of one pixel, (N, channels, 1, 1)."""
    return x.reshape(len(x), -1, 1, 1)


@contextmanager
def drawing(*noises: Array) -> Iterator[None]:
    """What PyTorch draws from the normal law are these arrays, one after another, in the precision that is asked for.

    Raises: NotImplementedError if arrays of another shape are drawn, or more of them, or noise in a way that is not seen here.
    """
    if "torch" not in sys.modules:
        yield
        return
    torch, left = sys.modules["torch"], list(noises)

    def next_noise(shape: Any, dtype: Any) -> Any:
        if not left or left[0].shape != tuple(shape):
            raise NotImplementedError(f"draws noise of shape {tuple(shape)} where none of that shape was expected")
        return torch.as_tensor(left.pop(0).copy()).to(dtype or torch.get_default_dtype())

    def randn(*size: Any, dtype: Any = None, **_: Any) -> Any:
        return next_noise(size if isinstance(size[0], int) else size[0], dtype)

    def randn_like(model: Any, *, dtype: Any = None, **_: Any) -> Any:
        return next_noise(model.shape, dtype or model.dtype)

    before = torch.get_rng_state()
    with mock.patch.object(torch, "randn", randn), mock.patch.object(torch, "randn_like", randn_like):
        yield
    if not torch.equal(before, torch.get_rng_state()):
        raise NotImplementedError("draws noise in a way that cannot be seen from here")


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of what a function asks for."""
    return list(signature(function).parameters)


def not_long(T: int) -> None:
    """Raises: NotImplementedError for a chain of too many steps."""
    if T > LONG:
        raise NotImplementedError(f"a chain of {T} steps takes too long: its steps are asked for one by one")


def choice_name(name: Any) -> str:
    """The name of a choice: of an enumeration's member, or the text itself."""
    return str(getattr(name, "name", name)).lower()


def choice(name: Any, among: dict[str, str], *, of: str) -> str:
    """Our word for a choice.   Raises: ValueError for one that there is no word for."""
    if choice_name(name) not in among:
        raise ValueError(f"adapter: expected {of} among {', '.join(among)}, got {choice_name(name)!r}")
    return among[choice_name(name)]
