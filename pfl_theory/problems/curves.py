"""Piecewise users of one variable: everything about them is exact, up to rounding that is bounded here."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from ..constants import Constant
from ..losses.piecewise import Curve, Piecewise
from ..rigour.rounding import UNIT
from .functions import FunctionOracle


class CurveOracle(FunctionOracle):
    """f_i from piecewise functions of one variable, their data's noise included."""

    kind = "curves"

    def __init__(self, family: Piecewise) -> None:
        curves, noise = list(family.curves), family.noise

        def each(name: str, w: NDArray) -> NDArray:
            return np.array([getattr(c, name)(w[i])[0] for i, c in enumerate(curves)])

        super().__init__(
            value=lambda w: each("value", w),
            gradient=lambda w: each("gradient", w)[:, None],
            hvp=lambda w, v: each("hessian", w)[:, None] * v,
            hessian=lambda w: each("hessian", w)[:, None, None],
            n_users=len(curves),
            dim=1,
            noise=None if noise is None else noise.sampler(),
            constants=constants_of_curves(family),
            meta_smoothness=family.meta_smoothness,
        )
        self.family = family


def constants_of_curves(family: Piecewise) -> dict[str, Constant]:
    """L, B, rho (exact) and sigma_G, sigma_H of every user."""
    curves, noise = family.curves, family.noise
    if noise is None:
        sigma_g = sigma_h = Constant.exact(np.zeros(len(curves)), "no data, no noise")
    else:
        sigma_g, sigma_h = (
            Constant.upper(np.full(len(curves), value), f"covariance of the data, largest {what} of their shapes")
            for value, what in ((noise.sigma_G, "slopes"), (noise.sigma_H, "curvatures"))
        )
    return {
        "B": Constant.exact([c.steepest for c in curves], "max |f'| over nodes and zeros of f''"),
        "L": Constant.exact([c.curvature for c in curves], "max |f''| over nodes"),
        "rho": Constant.exact([c.third for c in curves], "largest slope of f''"),
        "sigma_G": sigma_g,
        "sigma_H": sigma_h,
    }


def heterogeneity(curves: Sequence[Curve]) -> tuple[float, float]:
    """gamma_G and gamma_H over the whole line, exact up to rounding.

    Between nodes of any user the differences of f'' are linear and those of f' quadratic in w: the mean of their
    squares is a polynomial whose maxima lie at nodes or at roots of a derivative. Outside all nodes both are constant.
    """
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


def gradient_error(curves: Sequence[Curve]) -> float:
    """Bound of the rounding error of f' at a point (docs/theory/left-side.md#3-2, 1)."""
    return max((3 * len(c.x) + 64) * UNIT * (c.steepest + c.variation) for c in curves)


def hessian_error(curves: Sequence[Curve]) -> float:
    """Bound of the rounding error of f'' at a point: an interpolation between two heights."""
    return 16 * UNIT * max(c.curvature for c in curves)


def meta_gradient_error(curves: Sequence[Curve], alpha: float, reach: float) -> float:
    """Bound of the rounding error of F'(w) = (1 - alpha f''(w)) f'(w - alpha f'(w)) at |w| <= reach."""
    L, B, e = max(c.curvature for c in curves), max(c.steepest for c in curves), gradient_error(curves)
    moved = alpha * e + 2 * UNIT * (reach + alpha * B)
    return (1 + alpha * L) * (e + L * moved) + alpha * hessian_error(curves) * B + 4 * UNIT * (1 + alpha * L) * B
