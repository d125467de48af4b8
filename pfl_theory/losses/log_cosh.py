"""Log-cosh, phi(u) = c^2 log cosh(u/c): location, l = sum_k phi(w_k - z_k), and regression, l = phi(<w, x> - y)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..errors import one_of
from ..federations.federation import Federation
from ..kernels.jit import scalar
from ..kernels.vector_math import exp
from .certified import by_slope, certified_max
from .dispatch import implements
from .loss import Loss, ball_center, checked_hyperparameter, checked_metric, real_targets
from .margin import implements_margin
from .row_moments import ENUMERATION_LIMIT, row_moments, signed_sums, third_directional, user_rows

SUP_D3 = 4 / (3 * math.sqrt(3))  # sup |phi'''| at c = 1, where tanh u = 1/sqrt 3
SUP_D3_SQUARED_BY_VARIANCE = 16 / 27  # (sup |phi'''|)^2


class LocationParameters(NamedTuple):
    """What the kernels see: location family."""

    c: float


class RegressionParameters(NamedTuple):
    """What the kernels see: regression."""

    c: float


@scalar
def sech_squared(u):  # type: ignore[no-untyped-def]
    """1 / cosh^2 u, with all its digits where 1 - tanh^2 u has lost them."""
    e = exp(-2.0 * abs(u))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            u = abs(w[j] - scale * x[rows[k], j]) / loss.c
            total += coef[k] * loss.c * loss.c * (u + np.log1p(np.exp(-2.0 * u)) - 0.6931471805599453)
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            out[j] += coef[k] * loss.c * np.tanh((w[j] - scale * x[rows[k], j]) / loss.c)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            out[j] += coef[k] * sech_squared((w[j] - scale * x[rows[k], j]) / loss.c) * v[j]


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:, :] = 0.0
    for k in range(len(rows)):
        for j in range(len(w)):
            s = 1.0 / np.cosh(min(abs(w[j] - scale * x[rows[k], j]) / loss.c, 350.0))
            out[j, j] += coef[k] * s * s


def phi(loss, u, y):  # type: ignore[no-untyped-def]
    a = abs(u - y) / loss.c
    return loss.c * loss.c * (a + np.log1p(np.exp(-2.0 * a)) - 0.6931471805599453)


def dphi(loss, u, y):  # type: ignore[no-untyped-def]
    return loss.c * np.tanh((u - y) / loss.c)


def d2phi(loss, u, y):  # type: ignore[no-untyped-def]
    return sech_squared((u - y) / loss.c)


implements(LocationParameters, value=value, gradient=gradient, hvp=hvp, hessian=hessian)
implements_margin(RegressionParameters, phi=phi, dphi=dphi, d2phi=d2phi)


@dataclass(frozen=True)
class LogCosh(Loss):
    """Log-cosh loss: all of B, L, rho finite on the whole space.

    Parameters
    ----------
    kind : {"location", "regression"}
        ``location``: l(w; z) = sum_k phi(w_k - z_k), no labels. ``regression``: l(w; x, y) = phi(<w, x> - y).
    c : float
        Width: phi(u) = c^2 log cosh(u / c), so |phi'| < c, phi'' <= 1, |phi'''| <= 4 / (3 sqrt(3) c).

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[-2.0, 2.0]])
    >>> c = pfl.Problem(pfl.losses.LogCosh(), fed).constants()
    >>> c["B"].max(), round(c["L"].max(), 6), round(c["rho"].max(), 6)
    (1.0, 0.500671, 0.38526)
    """

    kind: str = "location"
    c: float = 1.0
    convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of("LogCosh: kind", self.kind, ("location", "regression"))
        checked_hyperparameter("LogCosh", "c", self.c, positive=True)

    @property
    def one_margin(self) -> bool:  # type: ignore[override]
        """Only the regression depends on one margin."""
        return self.kind == "regression"

    def dim(self, fed: Federation) -> int:
        return fed.n_features

    def parameters(self, fed: Federation, dtype: np.dtype) -> LocationParameters | RegressionParameters:
        return (LocationParameters if self.kind == "location" else RegressionParameters)(dtype.type(self.c))

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        return frozenset({"lip_gradient_z", "lip_hessian_z"} if self.kind == "location" else ())  # w - z is any vector

    @property
    def reads_labels(self) -> bool:
        return self.kind == "regression"

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        return real_targets(self, fed, dtype) if self.reads_labels else super().targets(fed, dtype)

    def lowest(self, fed: Federation) -> NDArray:
        return np.zeros(fed.n_users)  # no term is negative

    def constants(
        self,
        fed: Federation,
        *,
        radius: float | None = None,
        center: NDArray | None = None,
        metric: str | None = None,
        kappa: float | None = None,
    ) -> dict[str, Constant]:
        checked_metric(metric, kappa, "labelled")
        return self._location(fed) if self.kind == "location" else self._regression(fed, radius, center, kappa)

    def _location(self, fed: Federation) -> dict[str, Constant]:
        n, d, c = fed.n_users, fed.n_features, self.c
        full = np.full(n, 1.0)
        curvature, third, var_g, var_h = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        for i in range(n):
            z, pi, _ = user_rows(fed, i)
            z = z - pi @ z  # translations change nothing below, and far from 0 the variance would cancel
            shapes = [_profile_sups(z[:, k] / c, pi) for k in range(d)]
            curvature[i], third[i] = max(s[0] for s in shapes), max(s[1] for s in shapes) / c
            variance = pi @ z**2
            spread = (z.max(0) - z.min(0)) / c
            var_g[i] = np.minimum(np.maximum(variance, 0), (c * np.tanh(spread / 2)) ** 2).sum()
            var_h[i] = np.minimum(0.25, SUP_D3_SQUARED_BY_VARIANCE * np.maximum(variance, 0) / c**2).sum()
        return {
            "B": Constant.exact(c * math.sqrt(d) * full, "c sqrt(d), not attained [theory 5.7, 4b]"),
            "L": Constant.upper(
                curvature, "max_k sup_u E sech^2(u - z_k), maximised on a certified grid [theory 5.7, 4b]"
            ),
            "rho": Constant.upper(
                third, "max_k sup_u |E phi'''(u - z_k)|, maximised on a certified grid [theory 5.7, 4b]"
            ),
            "sigma_G": Constant.upper(np.sqrt(var_g), "sum_k min(Var z_k, tanh^2(range_k/2)) [theory 5.7, 4c]"),
            "sigma_H": Constant.upper(np.sqrt(var_h), "sum_k min(1/4, (16/27) Var z_k) [theory 5.7, 4c]"),
            "B_datum": Constant.exact(c * math.sqrt(d) * full, "c sqrt(d), not attained"),
            "L_datum": Constant.exact(full, "sech^2(0), attained"),
            "lip_gradient_z": Constant.exact(full, "location family: Lip(grad phi) [theory 5.8]"),
            "lip_hessian_z": Constant.exact(SUP_D3 / c * full, "location family: Lip(Hess phi) [theory 5.8]"),
        }

    def _regression(
        self, fed: Federation, radius: float | None, center: NDArray | None, kappa: float | None
    ) -> dict[str, Constant]:
        m, n, c = row_moments(fed), fed.n_users, self.c
        bounds, exact = np.minimum(m.m1, np.sqrt(m.lmax_s)), True
        for i in range(n):
            x, pi, _ = user_rows(fed, i)
            if len(x) <= ENUMERATION_LIMIT:
                bounds[i] = signed_sums(pi[:, None] * x, -1.0, 1.0)
            else:
                exact = False
        x_max = float(m.radius.max())
        gradient = hessian = Constant.none(n, "features move: give radius= for a ball of w")
        if radius is not None:
            reach = radius + float(np.linalg.norm(ball_center(self.dim(fed), center)))
            s = reach * x_max / c
            lip = max(1.0, s, s + 1 / (4 * s) if s >= 0.5 else 1.0)
            t = (math.sqrt(1 + 3 * s * s) - 1) / (3 * s) if s > 0 else 0.0
            gradient = Constant.upper(
                np.full(n, max(c * lip, x_max if kappa is None else x_max / kappa)), "metric ||x-x'|| + kappa|y-y'|"
            )
            hessian = Constant.upper(
                np.full(
                    n,
                    max(
                        2 * x_max * (1 - t * t) * (1 + s * t), SUP_D3 / c * x_max**2 / (1.0 if kappa is None else kappa)
                    ),
                ),
                "log-cosh regression [theory 5.8, 5e]",
            )
        kind = Constant.exact if exact else Constant.upper
        return {
            "B": kind(
                c * bounds,
                "max over signs of ||E s x||, not attained" if exact else "min(E||x||, sqrt lmax S) [theory 5.7, 4d]",
            ),
            "L": Constant.upper(m.lmax_s, "lmax(S) [theory 5.7, 4d]"),
            "rho": Constant.upper(SUP_D3 / c * third_directional(m), "4/(3 sqrt 3) lmax(E||x||xx^T) [theory 5.7, 4d]"),
            "sigma_G": Constant.upper(c * np.sqrt(m.m2), "E||x||^2 [theory 5.7]"),
            "sigma_H": Constant.upper(np.sqrt(m.m4), "E||x||^4 [theory 5.7]"),
            "B_datum": Constant.exact(c * m.radius, "max ||x||, not attained"),
            "L_datum": Constant.exact(m.radius**2, "max ||x||^2"),
            "lip_gradient_z": gradient,
            "lip_hessian_z": hessian,
        }


def _profile_sups(z: NDArray, weights: NDArray) -> tuple[float, float]:
    """Upper ends of sup_u E sech^2(u - z) and sup_u |E phi'''(u - z)|: a grid value plus Lipschitz constant times half
    a step.

    sech^2 has slope at most 4/(3 sqrt 3), phi''' at most 2; outside [min z, max z] both fall off, and are already
    falling 1 beyond the ends. Cells that may hold the maximum are halved until the margin is below 1e-7.
    """
    low, high = float(z.min()) - 1.0, float(z.max()) + 1.0

    def second(u: NDArray) -> NDArray:
        e = np.exp(-2 * np.abs(u - z))
        return (4 * e / (1 + e) ** 2) @ weights

    def third(u: NDArray) -> NDArray:
        t = np.tanh(u - z)
        return np.abs((2 * t * (1 - t * t)) @ weights)

    curvature, _, _ = certified_max(by_slope(second, SUP_D3), [low], [high], tolerance=1e-7)
    slope, _, _ = certified_max(by_slope(third, 2.0), [low], [high], tolerance=1e-7)
    return curvature, slope
