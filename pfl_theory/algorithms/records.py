"""Quantities that a run may record: a name of `QUANTITIES`, or any function of a :class:`Moment`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, require
from ..problems.problem import Problem

LOCAL_GRADIENT = "local_gradient"  # ||grad F||^2 at the averages of every local step: the runner traces the round


@dataclass(frozen=True)
class Moment:
    """A run before one of its rounds; looking at it never moves the model.

    Attributes
    ----------
    problem, test : Problem
        Training data, and what loss and accuracy are scored on.
    w : ndarray, shape (d,) or (n, d)
        The common model, or one a user.
    alpha : float
        Inner step of F and of personalisation.
    """

    problem: Problem
    test: Problem
    w: NDArray
    alpha: float

    @functools.cached_property
    def personal(self) -> NDArray:
        """One model a user: w after one exact step on the user's training data, shape (n, d)."""
        return self.problem.adapted(self.w, self.alpha)


Quantity = Callable[[Moment], Mapping[str, Any]]


def meta_value(at: Moment) -> dict[str, Any]:
    """F(w)."""
    return {"meta_value": float(at.problem.meta_value(at.w, at.alpha).mean())}


def meta_gradient(at: Moment) -> dict[str, Any]:
    """||grad F(w)||^2."""
    if at.w.ndim == 2:
        raise InputError("record 'meta_gradient' needs one common model; local-only training keeps one a user")
    return {"gradient_norm2": meta_gradient_norm2(at.problem, at.w, at.alpha)}


def loss(at: Moment) -> dict[str, Any]:
    """Loss on the test data per user, before and after personalisation."""
    return {"loss_before": at.test.value(at.w), "loss_after": at.test.value(at.personal)}


def accuracy(at: Moment) -> dict[str, Any]:
    """Accuracy on the test data per user, before and after personalisation."""
    return {"accuracy_before": at.test.accuracy(at.w), "accuracy_after": at.test.accuracy(at.personal)}


QUANTITIES: dict[str, Quantity] = {
    "meta_value": meta_value,
    "meta_gradient": meta_gradient,
    "loss": loss,
    "accuracy": accuracy,
}


def meta_gradient_norm2(problem: Problem, w: NDArray, alpha: float) -> float:
    """||grad F(w)||^2."""
    mean = problem.meta_gradient(w, alpha).mean(0)
    return float(mean @ mean)


def quantities(
    record: Sequence[str | Callable[[Moment], Any]] | str | Callable[[Moment], Any] | None,
) -> list[Quantity]:
    """The functions behind what was asked for: those with a name in the order of `QUANTITIES`, then one's own.

    `LOCAL_GRADIENT` is no function of a moment and left out.

    A function of one's own gets a :class:`Moment` and returns a number or one number a user, recorded under the
    function's name, or a dict of these.

    Raises
    ------
    InputError
        An unknown name.
    """
    wanted = (record,) if isinstance(record, str) or callable(record) else tuple(record or ())
    known = [*QUANTITIES, LOCAL_GRADIENT]
    for item in wanted:
        good = callable(item) or item in known
        require(good, f"run: record {item!r}; choose from {', '.join(map(repr, known))}, or give a function")
    own = [functools.partial(_named, item) for item in wanted if callable(item)]
    return [*(QUANTITIES[name] for name in QUANTITIES if name in wanted), *own]


def traces_local_steps(record: Any) -> bool:
    """Whether `LOCAL_GRADIENT` is among what was asked for."""
    return record == LOCAL_GRADIENT or (not callable(record) and LOCAL_GRADIENT in (record or ()))


def names_of(record: Any) -> list[str]:
    """What was asked for, in words."""
    wanted = (record,) if isinstance(record, str) or callable(record) else tuple(record or ())
    return [item if isinstance(item, str) else getattr(item, "__name__", repr(item)) for item in wanted]


def _named(function: Callable[[Moment], Any], at: Moment) -> Mapping[str, Any]:
    value = function(at)
    if isinstance(value, Mapping):
        return value
    name = getattr(function, "__name__", type(function).__name__)
    numbers = np.asarray(value, dtype=np.float64)
    n = at.problem.n_users
    require(
        numbers.shape in ((), (n,)),
        f"run: record {name!r} gave shape {numbers.shape}; it must give a number, or one a user ({n})",
    )
    return {name: float(numbers) if numbers.ndim == 0 else numbers}
