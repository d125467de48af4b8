"""Users whose values and gradients are known in balls, at points that are themselves known in balls: piecewise users of
one variable, quadratic users on rows, and functions whose author states their rounding.

Differences of values are all that statements ask for, so a value is meant up to a constant of the user's own.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..losses.piecewise import Curve
from ..losses.quadratic import Quadratic
from ..memory import remembered
from ..problems.problem import Problem
from ..rigour.balls import UP, Ball
from ..rigour.interval import Interval
from ..rigour.rounding import UNIT
from .claim import Hypothesis
from .hypotheses import bound, in_float64, roundings_of_constants
from .instance import Instance


class Known(Protocol):
    """A user's f in balls."""

    smooth: Ball  # L: |f''| at most
    below: Ball  # m >= 0: f'' at least -m

    def value(self, w: Ball) -> Ball:
        """f(w), w of shape (d,)."""

    def values(self, w: Ball) -> Ball:
        """f at each of several points of one variable, shape (m,)."""

    def gradient(self, w: Ball) -> Ball:
        """grad f(w), shape (d,)."""

    def product(self, w: Ball, v: Ball) -> Ball:
        """Hess f(w) v, shape (d,)."""


class OnLine:
    """A piecewise user."""

    def __init__(self, curve: Curve) -> None:
        self._x, self._h = curve.x, curve.h
        self.smooth = Ball(curve.curvature)
        self.below = Ball(max(0.0, -float(curve.h.min())))
        self._third = float(curve.third) * (1 + 4 * UNIT)
        step, jump = Ball(curve.x[1:]) - Ball(curve.x[:-1]), Ball(curve.h[1:]) - Ball(curve.h[:-1])
        self._s = jump / step
        slopes, values = [Ball(0.0)], [Ball(0.0)]
        for k in range(len(step)):
            slopes.append(slopes[k] + step[k] * (Ball(curve.h[k]) + Ball(curve.h[k + 1])) * 0.5)
        self._f1 = _stacked(slopes)
        self._f1 = self._f1 + (Ball(curve.slope) - self.gradient(Ball([curve.anchor]))[0])
        for k in range(len(step)):
            t = step[k]
            rise = self._f1[k] + t * (Ball(curve.h[k]) * 0.5 + self._s[k] * t / 6.0)
            values.append(values[k] + t * rise)
        self._f0 = _stacked(values)

    def _local(self, w: Ball) -> tuple[NDArray, Ball, Ball]:
        """Segment of the middle of w, distance into it, and how far it lies outside all nodes."""
        k = np.clip(np.searchsorted(self._x, w.mid, side="right") - 1, 0, len(self._x) - 2)
        inside = np.clip(w.mid, self._x[0], self._x[-1])
        return k, Ball(inside) - Ball(self._x[k]), Ball(w.mid) - Ball(inside)

    def gradient(self, w: Ball) -> Ball:
        """f'(w), entry by entry."""
        k, t, _ = self._local(w)
        found = self._f1[k] + t * (Ball(self._h[k]) + self._s[k] * t * 0.5)
        return widened(found, self.smooth.size_bound * w.rad)

    def values(self, w: Ball) -> Ball:
        """f(w), entry by entry."""
        k, t, beyond = self._local(w)
        middle = self.gradient(Ball(w.mid))
        inner = self._f0[k] + t * (self._f1[k] + t * (Ball(self._h[k]) * 0.5 + self._s[k] * t / 6.0))
        steep = middle.size_bound + self.smooth.size_bound * w.rad
        return widened(inner + beyond * middle, w.rad * steep)

    def value(self, w: Ball) -> Ball:
        """f(w)."""
        return self.values(w)[0]

    def product(self, w: Ball, v: Ball) -> Ball:
        """f''(w) v."""
        k, t, beyond = self._local(w)
        inside = Ball(self._h[k]) + self._s[k] * t
        second = inside if not beyond.mid.any() else Ball(0.0 * w.mid)  # w has one entry
        return widened(second, self._third * w.rad) * v


class OnRows:
    """A user of a quadratic loss."""

    def __init__(self, problem: Problem, user: int) -> None:
        fed = problem.federation
        rows = fed.rows(user)
        a = np.asarray(problem.loss.matrices(problem.n_users, problem.dim)[user])  # type: ignore[attr-defined]
        self._a = Ball(a)
        shares = Ball(fed.weights[rows])
        points = Ball(fed.x[rows].astype(np.float64)) * fed.scale
        self._middle = (shares @ points) / shares.sum()
        diagonal = not np.any(a - np.diag(np.diag(a)))
        found = np.diag(a) if diagonal else np.linalg.eigvalsh(a)
        top = float(np.abs(found).max())
        # backward error of a symmetric eigenvalue solver: a small multiple of d roundings of the largest
        error = 0.0 if diagonal else 64 * len(a) * UNIT * top
        self.smooth = Ball(top, error)
        self.below = Ball(-float(found.min()), error).nonnegative() if error > 0 else Ball(max(0.0, -found.min()))

    def value(self, w: Ball) -> Ball:
        """f(w)."""
        away = w - self._middle
        return (away * (self._a @ away)).sum() * 0.5

    def values(self, w: Ball) -> Ball:
        """f at points of one variable."""
        away = w - self._middle[0]
        return away * away * self._a[0, 0] * 0.5

    def gradient(self, w: Ball) -> Ball:
        """A (w - mean)."""
        return self._a @ (w - self._middle)

    def product(self, w: Ball, v: Ball) -> Ball:
        """A v."""
        return self._a @ v


class OnFunctions:
    """A user from Python functions, whose author states ``rounding``: what its values and gradients may be off by."""

    def __init__(self, problem: Problem, user: int) -> None:
        self._problem, self._user = problem, user
        constants = problem.constants()
        self._error = float(constants["rounding"].values[user])
        self.smooth = Ball(float(constants["L"].values[user]))
        stated = constants.get("lower_curvature")
        self.below = self.smooth if stated is None or not stated.usable else Ball(float(stated.values[user]))

    def value(self, w: Ball) -> Ball:
        """f(w)."""
        found = float(self._problem.value(w.mid)[self._user])
        far = float(np.linalg.norm(w.rad)) * (1 + 64 * UNIT)
        steep = float(np.linalg.norm(self._problem.gradient(w.mid)[self._user])) * (1 + 64 * UNIT) + self._error
        return Ball(found, (self._error + far * (steep + float(self.smooth.mid) * far)) * UP)

    def values(self, w: Ball) -> Ball:
        """f at points of one variable."""
        return stacked([self.value(w[k : k + 1]) for k in range(len(w))])

    def gradient(self, w: Ball) -> Ball:
        """grad f(w)."""
        far = float(np.linalg.norm(w.rad)) * (1 + 64 * UNIT)
        found = self._problem.gradient(w.mid)[self._user]
        return Ball(found, np.full(len(found), (self._error + float(self.smooth.mid) * far) * UP))

    def product(self, w: Ball, v: Ball) -> Ball:
        """Not known to a rounding."""
        raise NotImplementedError


def widened(ball: Ball, by: NDArray | float) -> Ball:
    """The same with a larger radius."""
    return Ball(ball.mid, (ball.rad + by) * UP)


def _stacked(numbers: list[Ball]) -> Ball:
    return Ball(np.array([float(b.mid) for b in numbers]), np.array([float(b.rad) for b in numbers]))


def stacked(balls: list[Ball]) -> Ball:
    """Balls of one shape as the rows of one."""
    return Ball(np.stack([b.mid for b in balls]), np.stack([np.broadcast_to(b.rad, b.mid.shape) for b in balls]))


def norm(v: Ball) -> Ball:
    """Euclidean norm of a vector."""
    return (v * v).sum().sqrt()


def side(ball: Ball, *, nonnegative: bool = False) -> Interval:
    """A number as a side of a claim; what is not finite settles nothing."""
    lower, upper = float(ball.lower), float(ball.upper)
    if nonnegative:
        lower, upper = max(lower, 0.0), max(upper, 0.0)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return Interval(0.0 if nonnegative else -math.inf, math.inf)
    return Interval(lower, upper, upper - lower)


def known_users(problem: Problem) -> list[Known]:
    """The users in balls, kept on the problem."""
    return remembered(problem, "users in balls", lambda: _known_users(problem))


def _known_users(problem: Problem) -> list[Known]:
    if problem.kind == "curves":
        return [OnLine(c) for c in problem.family.curves]
    kind = OnRows if problem.kind == "rows" else OnFunctions
    return [kind(problem, i) for i in range(problem.n_users)]


def constant(instance: Instance, name: str) -> Ball:
    """The largest over users of a constant that a right side may use, with its rounding."""
    return Ball.relative(bound(instance, name), roundings_of_constants(instance) * UNIT)


def _in_balls(instance: Instance) -> str | None:
    problem = instance.problem
    if problem.kind == "curves":
        return None
    if problem.kind == "rows":
        if not isinstance(problem.loss, Quadratic):
            return (
                f"values must be known up to rounding: {problem.loss.name} is not among piecewise and quadratic users."
            )
        return in_float64(instance)
    return "values must be known up to rounding: functions are not among piecewise and quadratic users."


def _values_in_balls(instance: Instance) -> str | None:
    if instance.problem.kind != "functions":
        return _in_balls(instance)
    for name in ("L", "rounding"):
        constant = instance.constants.get(name)
        if constant is None or not constant.usable or len(constant.values) != instance.problem.n_users:
            return f"values must be known up to rounding: of these functions no {name} is stated for every user."
    return None


IN_BALLS = Hypothesis("piecewise users of one variable, or quadratic users on rows", _in_balls)
VALUES_IN_BALLS = Hypothesis("users whose values are known up to rounding", _values_in_balls)
