"""Exact expectations of short runs on piecewise users, by enumerating every set of users and every batch.

Where users are not quadratic nothing closed is known of a run; but with few users, few data and few rounds all that can
happen fits in memory. All variants run by the same code; the rounding of whole paths is bounded
(docs/theory/theorem-4-5.md#9-5-6).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import Algorithm, participants
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import require
from ..losses.noise import FiniteNoise, Flat
from ..losses.piecewise import Curve
from ..problems.curves import gradient_error, hessian_error
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT

MOST_POINTS = 4_000_000  # ends of one round
BLOCK = 2**16  # outcomes looked at together
NOTHING = FiniteNoise(np.zeros((1, 1)), [Flat()])


class ExactRun(NamedTuple):
    """What the theorem's two sides need of a run, as balls.

    Attributes
    ----------
    X2, M2 : Ball
        Averages of E||grad F||^2 over w_k and over wbar_{k+1,t}.
    first, last : Ball
        F(w_0) and E F(w_K).
    gamma2, gamma2_steps : Ball
        Average spread of the grad F_i over users at w_k, and the largest over t of the average at wbar_{k+1,t}.
    v2, b2 : Ball
        Mean over users of the largest variance and squared bias of a direction, over all points that any user reaches.
    """

    X2: Ball
    M2: Ball
    first: Ball
    last: Ball
    gamma2: Ball
    gamma2_steps: Ball
    v2: Ball
    b2: Ball


@dataclass(frozen=True, eq=False)
class _Direction:
    """All values of a user's direction at points, with their probabilities."""

    variant: str  # "exact", "first-order", "hessian-free" or "plain"
    alpha: float
    delta: float
    inner: FiniteNoise
    outer: FiniteNoise
    hessian: FiniteNoise

    @property
    def probabilities(self) -> NDArray:
        """Shape (Q,)."""
        parts = {"plain": (self.outer,), "first-order": (self.inner, self.outer)}.get(
            self.variant, (self.inner, self.outer, self.hessian)
        )
        p = np.ones(1)
        for part in parts:
            p = (p[:, None] * np.asarray(part.weights)[None, :]).ravel()
        return p

    def values(self, curve: Curve, w: NDArray) -> NDArray:
        """Directions at points w (P,), shape (P, Q)."""
        g = curve.gradient(w)
        if self.variant == "plain":
            return g[:, None] + self.outer.gradients(w)
        adapted = w[:, None] - self.alpha * (g[:, None] + self.inner.gradients(w))
        v = curve.gradient(adapted)[..., None] + self.outer.gradients(adapted)
        v = v.reshape(len(w), -1)
        if self.variant == "first-order":
            return v
        if self.variant == "exact":
            h = curve.hessian(w)[:, None] + self.hessian.hessians(w)
            return ((1 - self.alpha * h)[:, None, :] * v[..., None]).reshape(len(w), -1)
        ahead, behind = w[:, None] + self.delta * v, w[:, None] - self.delta * v
        rise = (
            (curve.gradient(ahead) - curve.gradient(behind))[..., None]
            + self.hessian.gradients(ahead)
            - self.hessian.gradients(behind)
        )
        return (v[..., None] - self.alpha * rise / (2 * self.delta)).reshape(len(w), -1)


def direction_of(algorithm: Algorithm, noise: FiniteNoise | None) -> _Direction:
    """The law of a local step's direction."""

    def law(size: int | None) -> FiniteNoise:
        return NOTHING if noise is None or size is None else noise.batch(size, replace=bool(algorithm.replace))  # type: ignore[attr-defined]

    if isinstance(algorithm, FedAvg):
        return _Direction("plain", 0.0, 1.0, NOTHING, law(algorithm.batch), NOTHING)
    assert isinstance(algorithm, PerFedAvg)
    laws = law(algorithm.batch_inner), law(algorithm.batch_outer), law(algorithm.batch_hessian)
    return _Direction(algorithm.variant, algorithm.alpha, algorithm.difference_step, *laws)


def enumerate_run(problem: Problem, algorithm: Algorithm, alpha: float, rounds: int, w0: float) -> ExactRun:
    """Every set of users, every batch, every round.

    Parameters
    ----------
    problem : Problem
        Piecewise users, with finite noise or none.
    algorithm : PerFedAvg or FedAvg
    alpha : float
        Inner step of the objective F (FedAvg may be measured on F).
    rounds : int
        K.
    w0 : float

    Raises
    ------
    InputError
        Too much to enumerate.
    """
    family = problem.family
    curves, direction = family.curves, direction_of(algorithm, family.noise)
    n, beta, tau = len(curves), float(algorithm.beta), int(algorithm.local_steps)  # type: ignore[attr-defined]
    m = participants(algorithm.participation, n)  # type: ignore[attr-defined]
    p, subsets = direction.probabilities, list(itertools.combinations(range(n), m))

    def meta(points: NDArray) -> NDArray:
        """grad F_i at points (P,), shape (n, P)."""
        return np.stack(
            [(1 - alpha * c.hessian(points)) * c.gradient(points - alpha * c.gradient(points)) for c in curves]
        )

    def value(points: NDArray) -> NDArray:
        return np.mean([c.value(points - alpha * c.gradient(points)) for c in curves], axis=0)

    ends: list[NDArray] = []
    chances: list[NDArray] = []
    w: NDArray = np.array([w0])
    q: NDArray = np.ones(1)
    x2 = m2 = gamma2 = 0.0
    spread_steps = np.zeros(tau)
    bias, variance, reach, most = np.zeros(n), np.zeros(n), abs(w0), 1
    for k in range(rounds):
        size = len(w) * len(p) ** (tau * m) * len(subsets)
        require(
            size <= MOST_POINTS,
            f"enumeration: {size:.3g} ends of a round, more than {MOST_POINTS}; fewer rounds, steps or data, or runs=",
        )
        paths: list[list[NDArray]] = []
        for i, curve in enumerate(curves):
            points = [w[:, None]]
            for _t in range(tau):
                flat = points[-1].ravel()
                g = direction.values(curve, flat)
                mean = g @ p
                own = (1 - alpha * curve.hessian(flat)) * curve.gradient(flat - alpha * curve.gradient(flat))
                bias[i] = max(bias[i], float(np.abs(mean - own).max()))
                variance[i] = max(variance[i], float((((g - mean[:, None]) ** 2) @ p).max()))
                points.append((flat[:, None] - beta * g).reshape(len(w), -1))
                reach = max(reach, float(np.abs(points[-1]).max()))
            paths.append(points)
        ends, chances = [], []
        for t in range(tau + 1):
            chance = np.ones(1)
            for _user in range(m):
                chance = (chance[:, None] * _power(p, t)[None, :]).ravel()
            weights = ((q[:, None] / len(subsets)) * chance[None, :]).ravel()
            for subset in subsets:  # one set of users at a time, its outcomes in blocks: memory stays small
                averages = _average([paths[i][t] for i in subset]).ravel()
                most = max(most, len(averages) * len(subsets))
                if t == tau:
                    ends.append(averages)
                    chances.append(weights)
                    continue
                square, spread = _blocked(meta, averages, weights)
                m2, spread_steps[t] = m2 + square, spread_steps[t] + spread
                if t == 0:
                    x2, gamma2 = x2 + square, gamma2 + spread
        if k + 1 < rounds:
            w, where = np.unique(np.concatenate(ends), return_inverse=True)
            q = np.bincount(where.ravel(), np.concatenate(chances))
    last = sum(_blocked_mean(value, points, chance) for points, chance in zip(ends, chances, strict=True))
    first = float(value(np.array([w0]))[0])

    e = _errors(curves, family.noise, direction, alpha, beta, tau * rounds, reach)
    count = (most + 64) * UNIT
    lipschitz = max(c.steepest for c in curves) * (1 + alpha * max(c.curvature for c in curves))
    each = e.value + lipschitz * e.path
    users = (
        np.array([(b + e.direction) ** 2 for b in bias]).mean(),
        np.array([max(b - e.direction, 0.0) ** 2 for b in bias]).mean(),
    )
    return ExactRun(
        X2=_of_squares(x2 / rounds, e.gradient, count),
        M2=_of_squares(m2 / rounds / tau, e.gradient, count),
        first=Ball(first, each),
        last=Ball(last, each + count * (abs(last) + lipschitz * 2 * reach)),
        gamma2=_of_squares(gamma2 / rounds, 2 * e.gradient, count),
        gamma2_steps=_of_squares(float(spread_steps.max()) / rounds, 2 * e.gradient, count),
        v2=_of_squares(float(variance.mean()), 2 * e.direction, count),
        b2=Ball.between(float(users[1]), float(users[0])),
    )


def _blocked(meta: Callable[[NDArray], NDArray], points: NDArray, weights: NDArray) -> tuple[float, float]:
    """E (grad F)^2 and E of the spread of the grad F_i, over points with weights."""
    square = spread = 0.0
    for start in range(0, len(points), BLOCK):
        gradients, chance = meta(points[start : start + BLOCK]), weights[start : start + BLOCK]
        mean = gradients.mean(0)
        square += float((mean**2) @ chance)
        spread += float((((gradients - mean) ** 2).mean(0)) @ chance)
    return square, spread


def _blocked_mean(value: Callable[[NDArray], NDArray], points: NDArray, weights: NDArray) -> float:
    """E F over points with weights."""
    return sum(float(value(points[k : k + BLOCK]) @ weights[k : k + BLOCK]) for k in range(0, len(points), BLOCK))


def _average(points: list[NDArray]) -> NDArray:
    """Mean over users of independent outcomes, (W, Q_1), (W, Q_2), ... -> (W, Q_1 Q_2 ...)."""
    total = points[0]
    for more in points[1:]:
        total = (total[:, :, None] + more[:, None, :]).reshape(len(total), -1)
    return total / len(points)


def _power(p: NDArray, t: int) -> NDArray:
    out = np.ones(1)
    for _ in range(t):
        out = (out[:, None] * p[None, :]).ravel()
    return out


def _of_squares(value: float, error: float, relative: float) -> Ball:
    """A mean of squares of numbers that are known up to `error`."""
    return Ball(value, 2 * error * math.sqrt(value) + error**2 + relative * value)


class _Errors(NamedTuple):
    path: float  # of a computed iterate
    gradient: float  # of a computed grad F at a computed iterate
    direction: float  # of bias and of deviations at a computed iterate, against the true ones at the true iterate
    value: float  # of a computed F


def _errors(
    curves: Sequence[Curve],
    noise: FiniteNoise | None,
    d: _Direction,
    alpha: float,
    beta: float,
    steps: int,
    reach: float,
) -> _Errors:
    """Derivation: docs/theory/theorem-4-5.md#9-5-6."""
    extra = (0.0, 0.0, 0.0) if noise is None else tuple(noise.largest(k) for k in range(3))
    width = 8 if noise is None else 8 + 4 * len(noise.shapes)
    L, rho = max(c.curvature for c in curves) + extra[1], max(c.third for c in curves) + extra[2]
    V = max(c.steepest for c in curves) + extra[0]
    e = gradient_error(curves) + width * UNIT * extra[0]  # type: ignore[arg-type]
    h = hessian_error(curves) + width * UNIT * extra[1]  # type: ignore[arg-type]
    far = reach + alpha * V
    moved = alpha * e + 4 * UNIT * far
    inner = e + L * moved  # of a gradient at an adapted point
    meta = (1 + alpha * L) * inner + alpha * h * V + 8 * UNIT * (1 + alpha * L) * V
    lam = L * (1 + alpha * L)  # Lipschitz constant of v
    if d.variant == "hessian-free":
        own = (
            inner
            + alpha * ((e + L * (d.delta * inner + 4 * UNIT * (far + d.delta * V))) / d.delta + L * inner)
            + 16 * UNIT * (1 + alpha * L) * V
        )
        own += alpha * 4 * UNIT * 2 * V / d.delta
    else:
        own = {"plain": e, "first-order": inner}.get(d.variant, meta)
    slope = {"plain": L, "first-order": lam}.get(d.variant, lam * (1 + alpha * L) + alpha * rho * V)
    step = beta * own + 4 * UNIT * (far + beta * (1 + alpha * L) * V)
    growth = beta * slope
    path = step * steps if growth * steps < 1e-12 else step * math.expm1(steps * math.log1p(growth)) / growth * 1.01
    smooth = lam * (1 + alpha * L) + alpha * rho * V  # of F
    at = meta + smooth * path
    span = max(float(c.x[-1] - c.x[0]) + float(np.abs(c.x).max()) for c in curves)
    nodes = max(len(c.x) for c in curves)
    size = max(c.steepest + c.variation for c in curves)
    value = (8 * nodes + 128) * UNIT * size * (2 * span + far) + max(c.steepest for c in curves) * moved
    return _Errors(path, at, own + meta + (slope + smooth) * path, value)
