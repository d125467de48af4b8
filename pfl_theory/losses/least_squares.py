"""Least squares, l = (1/2)(<w, x> - y)^2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..federations.federation import Federation
from ..rigour.norms import norms
from .loss import Loss, ball_center, checked_metric, real_targets
from .margin import implements_margin
from .row_moments import row_moments, user_rows


class LeastSquaresParameters(NamedTuple):
    """What the kernels see: no hyperparameter (they may not be empty)."""

    unused: float


def phi(loss, u, y):  # type: ignore[no-untyped-def]
    return 0.5 * (u - y) * (u - y)


def dphi(loss, u, y):  # type: ignore[no-untyped-def]
    return u - y


def d2phi(loss, u, y):  # type: ignore[no-untyped-def]
    return 1.0


implements_margin(LeastSquaresParameters, phi=phi, dphi=dphi, d2phi=d2phi)


@dataclass(frozen=True)
class LeastSquares(Loss):
    """Linear regression, l(w; x, y) = (1/2)(<w, x> - y)^2, real targets y.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0], [3.0]]], [[0.0, 1.0]])
    >>> c = pfl.Problem(pfl.losses.LeastSquares(), fed).constants()
    >>> round(c["L"].max(), 12), c["rho"].max(), c["B"].how
    (5.0, 0.0, 'none')
    """

    one_margin: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def dim(self, fed: Federation) -> int:
        return fed.n_features

    def parameters(self, fed: Federation, dtype: np.dtype) -> LeastSquaresParameters:
        return LeastSquaresParameters(dtype.type(0))

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        return frozenset({"L", "rho", "L_datum", "lip_hessian_z"})  # the Hessian does not depend on w

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        return real_targets(self, fed, dtype)

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
        m, n = row_moments(fed), fed.n_users
        c = {
            "L": Constant.exact(m.lmax_s, "lmax(S) [theory 5.4]"),
            "rho": Constant.exact(np.zeros(n), "quadratic [theory 5.4]"),
            "L_datum": Constant.exact(m.radius**2, "max ||x||^2, one datum [theory 5.4]"),
            "sigma_H": Constant.upper(
                np.sqrt(np.maximum(m.m4 - m.frobenius_s**2, 0.0) + 4 * (m.size + 8) * 2.0**-53 * m.m4),
                "E||x||^4 - ||S||_F^2, and its rounding [theory 5.4, 1d]",
            ),
        }
        if radius is None:
            grows = "grows linearly in w; give radius= for a ball of w"
            return c | {
                "B": Constant.none(n, grows),
                "B_datum": Constant.none(n, grows),
                "sigma_G": Constant.none(n, grows),
                "lip_gradient_z": Constant.none(n, grows),
                "lip_hessian_z": Constant.exact(np.full(n, 2 * m.radius.max()), "2X [theory 5.8, 5f]"),
            }
        w0 = ball_center(self.dim(fed), center)
        big, datum, spread = np.empty(n), np.empty(n), np.empty(n)
        for i in range(n):
            x, pi, y = user_rows(fed, i)
            residual, length = x @ w0 - y, norms(x)
            big[i] = float(norms((pi * residual) @ x)) + radius * m.lmax_s[i]
            per_row = length * (np.abs(residual) + radius * length)
            datum[i], spread[i] = per_row.max(), np.sqrt(pi @ per_row**2)
        reach = radius + float(np.linalg.norm(w0))
        y_max = float(np.abs(self.targets(fed, np.dtype(np.float64))).max())
        where = f"on the ball of radius {radius:g}"
        x_max = float(m.radius.max())
        lip = max(2 * reach * x_max + y_max, x_max if kappa is None else x_max / kappa)
        return c | {
            "B": Constant.upper(big, f"||grad f(center)|| + R lmax(S) {where} [theory 5.4, 1a]"),
            "B_datum": Constant.upper(datum, f"max ||x||(|residual| + R||x||) {where}"),
            "sigma_G": Constant.upper(spread, f"E||gradient||^2 {where} [theory 5.4, 1d]"),
            "lip_gradient_z": Constant.upper(
                np.full(n, lip), f"max(2RX + Y, X/kappa), metric ||x-x'|| + kappa|y-y'| {where} [theory 5.8, 5f]"
            ),
            "lip_hessian_z": Constant.exact(np.full(n, 2 * x_max), "2X [theory 5.8, 5f]"),
        }
