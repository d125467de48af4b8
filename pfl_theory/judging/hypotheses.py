"""Hypotheses that statements of several kinds share, and the constants that a right side may use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import require
from ..losses.loss import ball_center
from ..rigour.rounding import UNIT
from .claim import Hypothesis
from .instance import Instance


def bound(instance: Instance, name: str) -> float:
    """A constant for a right side or a hypothesis: exact or proved from above, else an error."""
    found: Mapping[str, Any] = instance.constants
    require(
        name in found,
        f"instance {instance.name!r}: its problem states no constant {name}; give constants= to from_functions",
    )
    return float(found[name].bound(name))


def has_constants(*names: str) -> Hypothesis:
    """The assumptions that give these constants."""

    def check(instance: Instance) -> str | None:
        for name in names:
            constant = instance.constants.get(name)
            if constant is None:
                return f"{name} is not stated for this problem."
            if not constant.usable:
                return f"{name} has no value a bound may use ({constant.how}): {constant.reason}."
        return None

    return Hypothesis(f"{', '.join(names)} finite", check)


def in_float64(instance: Instance) -> str | None:
    """Gradients are known up to rounding in float64 only."""
    dtype = instance.problem.oracle.dtype
    return None if dtype == np.float64 else f"the problem computes in {dtype}; claims are judged in float64."


def inside_ball(instance: Instance) -> str | None:
    """Where the assumptions are read on a ball: every point, and every user's adapted point, must lie in it."""
    if instance.ball is None or instance.points is None:
        return None
    radius, center = instance.ball
    middle = ball_center(instance.problem.dim, center)
    for w in instance.points:
        reached = np.vstack([w[None], instance.problem.adapted(w, instance.alpha)])
        farthest = float(np.linalg.norm(reached - middle, axis=1).max())
        if farthest > radius:
            where = f"lies {farthest:.6g} from the center, outside the ball of radius {radius:.6g}"
            return f"a point or what it adapts to {where}."
    return None


def alpha_at_most_one_over_curvature(instance: Instance) -> str | None:
    """alpha <= 1/L, checked with the exact value or upper bound of L."""
    product = instance.alpha * bound(instance, "L")
    if product <= 1 + 8 * 2.0**-53:
        return None
    return f"alpha must be at most 1/L: alpha = {instance.alpha:.6g} is {product:.6g} times 1/L."


def roundings_of_constants(instance: Instance) -> int:
    """Relative error of the computed L, rho and B, in units of 2^-53 (derivation: docs/theory/rounding.md#4-5)."""
    problem = instance.problem
    if problem.kind == "curves":
        curves = problem.family.curves
        return max(
            math.ceil((3 * len(c.x) + 64) * (1 + c.variation / c.steepest)) if c.steepest else 64 for c in curves
        )
    if problem.kind == "rows":  # eigenvalues of the smaller Gram matrix
        m, p = int(problem.federation.sizes.max()), problem.federation.n_features
        return (
            128
            + (max(m, p) + 12) * min(m, p)
            + p
            + math.ceil(problem.loss.roundings(problem.federation, problem.constants()))
        )
    return 0  # constants given with functions are taken as they are


ADAPTED_IN_BALL = Hypothesis("the points and what they adapt to lie in the ball of the assumptions", inside_ball)


def _paths_inside(instance: Instance) -> str | None:
    """T(w) = w - alpha grad f_i(w) is (1 + alpha L)-Lipschitz: between two points of distance h it stays within (a + b
    + (1 + alpha L) h)/2 of the center, a and b its distances at the ends.
    """
    if instance.ball is None or instance.points is None or instance.problem.dim == 1:
        return None  # on a line T is monotone for alpha <= 1/L
    radius, center = instance.ball
    middle = ball_center(instance.problem.dim, center)
    adapted = np.stack([instance.problem.adapted(w, instance.alpha) for w in instance.points]) - middle
    ends = np.linalg.norm(adapted, axis=2).max(1)
    steps = np.linalg.norm(np.diff(instance.points, axis=0), axis=1) * (1 + instance.alpha * bound(instance, "L"))
    farthest = float(((ends[:-1] + ends[1:] + steps) / 2).max(initial=0.0))
    if farthest <= radius * (1 - 64 * UNIT):
        return None
    where = f"up to {farthest:.6g} from the center, outside the ball of radius {radius:.6g}"
    return f"what lies between two points may adapt to a point {where}."


PATHS_IN_BALL = Hypothesis("what lies between the points adapts to the ball of the assumptions", _paths_inside)


SMALL_STEP = Hypothesis("alpha <= 1/L", alpha_at_most_one_over_curvature)


def _inside(instance: Instance) -> str | None:
    if instance.ball is None or instance.points is None:
        return None
    radius, center = instance.ball
    farthest = float(np.linalg.norm(instance.points - ball_center(instance.problem.dim, center), axis=1).max())
    return (
        None
        if farthest <= radius * (1 + 4 * UNIT)
        else f"a point lies {farthest:.6g} from the center, outside the ball of radius {radius:.6g}."
    )


POINTS_IN_BALL = Hypothesis("the points lie in the ball of the constants", _inside)


def _convex(instance: Instance) -> str | None:
    problem = instance.problem
    if problem.kind == "curves":
        lowest = min(float(c.h.min()) for c in problem.family.curves)
        return None if lowest >= 0 else f"every f_i must be convex: f'' goes down to {lowest:.6g}."
    if problem.kind == "rows":
        loss = problem.loss
        return None if loss.convex else f"every f_i must be convex: {loss.name} is not known to be."
    return "every f_i must be convex: for a problem from Python functions that is not known."


CONVEX = Hypothesis("every f_i convex", _convex)
