"""How statements about batches are judged: the worst user and point, and what the data must allow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..algorithms.per_fedavg import PerFedAvg
from ..errors import InputError, require
from ..expectations.batches import (
    Moments,
    Sizes,
    UserData,
    batch_sizes,
    data_of,
    enumerated,
    has_data,
    sampled,
    steepest_near,
    support_sizes,
    without_replacement_failure,
)
from ..memory import remembered
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT
from ..rigour.sampling import ERROR, LEVEL, TOGETHER, note
from .claim import Hypothesis, Sides
from .hypotheses import bound, roundings_of_constants
from .instance import Instance


def sizes_of(instance: Instance) -> Sizes:
    """Batch sizes of the instance's algorithm.

    Raises
    ------
    InputError
        No algorithm, or not exact Per-FedAvg.
    """
    algorithm = instance.algorithm
    if not isinstance(algorithm, PerFedAvg) or algorithm.variant != "exact":
        raise InputError(
            f"instance {instance.name!r}: no batches to speak of; give algorithm=PerFedAvg(..., variant='exact') "
            "with batch sizes"
        )
    return batch_sizes(algorithm)


# --- expectations ---


def data_near(instance: Instance) -> list[UserData]:
    """Every user's data, with a bound of their gradients wherever the batches come; kept on the instance."""

    def made() -> list[UserData]:
        problem = instance.problem
        points = instance.judged_at
        steepest = steepest_near(problem, points, instance.alpha) if problem.kind == "rows" else None
        return [data_of(problem, user, steepest) for user in range(problem.n_users)]

    return remembered(instance, "data", made)


def moments_of(instance: Instance) -> list[tuple[int, Moments]]:
    """User and moments, for every user at every point of the instance: enumerated, or sampled where the instance has
    `runs`.
    """
    sizes = sizes_of(instance)
    failure = without_replacement_failure(instance.problem, sizes)
    require(failure is None, f"instance {instance.name!r}: {failure}")
    return remembered(instance, "moments", lambda: _all_moments(instance, sizes))


def _all_moments(instance: Instance, sizes: Sizes) -> list[tuple[int, Moments]]:
    problem, alpha, points, runs = instance.problem, instance.alpha, instance.judged_at, instance.runs
    found = []
    for user, data in enumerate(data_near(instance)):
        for w in points:
            if runs is None:
                found.append((user, enumerated(data, w, alpha, sizes)))
            else:  # all users and points of a verdict hold together
                error = ERROR / TOGETHER / (problem.n_users * len(points))
                found.append((user, sampled(data, w, alpha, sizes, draws=runs, error=error)))
    return found


def roundings(instance: Instance) -> int:
    """Relative error of the computed constants, sigma_G and sigma_H included, in units of 2^-53
    (docs/theory/batches.md#9-1).
    """
    problem = instance.problem
    if problem.kind == "rows":
        fed = problem.federation
        sums = np.add.reduceat(fed.weights, fed.offsets[:-1])
        return roundings_of_constants(instance) + math.ceil(2 * float(np.abs(sums - 1).max()) / UNIT) + 8
    noise = problem.family.noise
    return roundings_of_constants(instance) + (
        0 if noise is None else (len(noise.coefficients) + 8) * len(noise.shapes)
    )


def largest_direction(instance: Instance) -> float:
    """(1 + alpha C) A, a bound of every G~: the size of the numbers that bias and error are made of."""
    return max((1 + instance.alpha * data.curvature) * data.steepest for data in data_near(instance))


def at_users(
    instance: Instance, left: Callable[[Moments], Interval], right: Callable[[int], Interval], *, size: float
) -> Sides:
    """Both sides for every user at every point; right(m) is the bound for a user with m data."""
    m = support_sizes(instance.problem)
    rights = {int(k): right(int(k)) for k in set(m.tolist())}
    found = Sides.over(
        [(left(moments), rights[int(m[user])]) for user, moments in moments_of(instance)], "points", size=size
    )
    if instance.runs is None:
        return found
    lhs, rhs, *_ = found.worst()
    return dataclasses.replace(found, level=LEVEL, note=note(instance.runs, lhs, rhs))


def _known(instance: Instance) -> str | None:
    return (
        None
        if has_data(instance.problem)
        else "the users must be rows with a loss (float64), or piecewise functions with finite noise."
    )


def _batches(instance: Instance) -> str | None:
    algorithm = instance.algorithm
    if not isinstance(algorithm, PerFedAvg) or algorithm.variant != "exact":
        return "the algorithm must be exact Per-FedAvg: its batches are what is judged."
    if algorithm.alpha != instance.alpha:
        return f"the algorithm's alpha = {algorithm.alpha:.6g} is not the instance's {instance.alpha:.6g}."
    return without_replacement_failure(instance.problem, sizes_of(instance))


def _whole_space(instance: Instance) -> str | None:
    return (
        None
        if instance.ball is None
        else "the assumptions must hold on the whole space, not on a ball: a batch may adapt to a point outside."
    )


def _convex_users(instance: Instance) -> str | None:
    problem = instance.problem
    if problem.kind == "rows":
        loss = problem.loss
        curved = getattr(loss, "nonconvex", 0.0)
        return None if loss.convex and not curved else f"the users must be convex: {loss.name} need not be."
    lowest = min(float(c.h.min()) for c in problem.family.curves)
    return None if lowest >= 0 else f"the users must be convex: f'' reaches {lowest:.6g}."


def _twice_small(instance: Instance) -> str | None:
    product = instance.alpha * bound(instance, "L")
    if product <= 2 * (1 + 8 * UNIT):
        return None
    return f"alpha must be at most 2/L: alpha = {instance.alpha:.6g} is {product / 2:.6g} times 2/L."


KNOWN = Hypothesis("the users' data are known one by one", _known)


BATCHES = Hypothesis("three independent batches of exact Per-FedAvg that the data allow", _batches)


WHOLE_SPACE = Hypothesis("assumptions on the whole space", _whole_space)


CONVEX_WITH_STEP = (Hypothesis("f_i convex", _convex_users), Hypothesis("alpha <= 2/L", _twice_small))
