"""What the statements judged on piecewise functions of one variable share: rounding of f' and F', exact heterogeneity,
random instances.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from ..losses.piecewise import Curve, Piecewise, random_piecewise
from ..problems.problem import Problem
from ..rigour.interval import UNIT
from .claim import Hypothesis
from .instance import Instance


def curves_of(instance: Instance) -> Sequence[Curve]:
    """The users' curves."""
    origin = getattr(instance.problem.oracle, "origin", None)
    assert isinstance(origin, Piecewise)
    return origin.curves


def _curves(instance: Instance) -> str | None:
    known = isinstance(getattr(instance.problem.oracle, "origin", None), Piecewise)
    return (
        None
        if known
        else "the users must be piecewise functions of one variable: there the left side and its rounding are known."
    )


ON_CURVES = Hypothesis("users are piecewise functions of one variable", _curves)


def _convex(instance: Instance) -> str | None:
    origin = getattr(instance.problem.oracle, "origin", None)
    if isinstance(origin, Piecewise):
        lowest = min(float(c.h.min()) for c in origin.curves)
        return None if lowest >= 0 else f"every f_i must be convex: f'' goes down to {lowest:.6g}."
    if hasattr(instance.problem.oracle, "fed"):
        loss = instance.problem.loss
        return None if loss.convex else f"every f_i must be convex: {loss.name} is not known to be."
    return "every f_i must be convex: for a problem from Python functions that is not known."


CONVEX = Hypothesis("every f_i convex", _convex)


def gradient_error(curves: Sequence[Curve]) -> float:
    """Bound of the rounding error of f' at a point (docs/theory.md, section 3.2, 1)."""
    return max((3 * len(c.x) + 64) * UNIT * (c.steepest + c.variation) for c in curves)


def hessian_error(curves: Sequence[Curve]) -> float:
    """Bound of the rounding error of f'' at a point: an interpolation between two heights."""
    return 16 * UNIT * max(c.curvature for c in curves)


def meta_gradient_error(curves: Sequence[Curve], alpha: float, reach: float) -> float:
    """Bound of the rounding error of F'(w) = (1 - alpha f''(w)) f'(w - alpha f'(w)) at |w| <= reach."""
    L, B, e = max(c.curvature for c in curves), max(c.steepest for c in curves), gradient_error(curves)
    moved = alpha * e + 2 * UNIT * (reach + alpha * B)
    return (1 + alpha * L) * (e + L * moved) + alpha * hessian_error(curves) * B + 4 * UNIT * (1 + alpha * L) * B


@functools.lru_cache(maxsize=64)
def heterogeneity(problem: Problem) -> tuple[float, float]:
    """gamma_G and gamma_H over the whole line, exact up to rounding.

    Between nodes of any user the differences of f'' are linear and those of f' quadratic in w: the mean of their
    squares is a polynomial whose maxima lie at nodes or at roots of a derivative. Outside all nodes both are constant.
    """
    curves = problem.oracle.origin.curves  # type: ignore[union-attr]
    nodes = np.unique(np.concatenate([c.x for c in curves]))
    h = np.array([c.hessian(nodes) for c in curves])
    gamma_h = float(np.sqrt(((h - h.mean(0)) ** 2).mean(0).max()))
    candidates = [nodes]
    for low, high in itertools.pairwise(nodes):
        half, middle = (high - low) / 2, (low + high) / 2
        at = np.array([c.gradient(np.array([low, middle, high])) for c in curves])
        away = at - at.mean(0)
        # quadratics through three values, in t = (w - middle) / half
        parts = [np.array([y[1], (y[2] - y[0]) / 2, (y[0] + y[2]) / 2 - y[1]]) for y in away]
        total = functools.reduce(polynomial.polyadd, [polynomial.polymul(q, q) for q in parts])
        slope = np.trim_zeros(polynomial.polyder(total), "b")
        roots = polynomial.polyroots(slope) if len(slope) > 1 else np.zeros(0)
        inside = [float(r.real) for r in np.atleast_1d(roots) if abs(r.imag) < 1e-6 and abs(r.real) < 1]
        candidates.append(middle + half * np.array(inside))
    w = np.concatenate(candidates)
    g = np.array([c.gradient(w) for c in curves])
    return float(np.sqrt(((g - g.mean(0)) ** 2).mean(0).max())), gamma_h


def made_convex(family: Piecewise) -> Piecewise:
    """The same users with |f''| at the nodes for f''."""
    return Piecewise([Curve(c.x, np.abs(c.h), c.anchor, c.slope) for c in family.curves])


def random_curves(rng: np.random.Generator, *, convex: bool = False) -> Instance:
    """Two to four random users, alpha in [0, 1/L], points at nodes and between."""
    family = random_piecewise(rng, n_users=int(rng.integers(2, 5)))
    if convex:
        family = made_convex(family)
    problem = Problem.from_functions(**family.functions())
    nodes = np.concatenate([c.x for c in family.curves])
    points = np.concatenate([rng.choice(nodes, 4), rng.uniform(nodes.min() - 1, nodes.max() + 1, 8)])
    return Instance(
        problem, float(rng.uniform(0, 1)) / problem.constants()["L"].max(), points[:, None], "random piecewise users"
    )


def random_convex_curves(rng: np.random.Generator) -> Instance:
    """Two to four random convex users, alpha in [0, 1/L], points at nodes and between."""
    return random_curves(rng, convex=True)


def points_of(instance: Instance) -> NDArray:
    """The points on the line."""
    from ..errors import InputError

    if instance.points is None:
        raise InputError(f"instance {instance.name!r}: no points; give one or more w")
    return instance.points[:, 0]
