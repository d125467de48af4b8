"""Softmax regression, l = lse(W x) - (W x)_y, W in R^(C x p), w = W.ravel() row-major."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..errors import require
from ..federations.federation import Federation
from ..kernels.jit import helper
from .dispatch import implements
from .loss import Loss, ball_center, checked_hyperparameter, checked_metric, class_labels
from .row_moments import RowMoments, row_moments, third_directional, user_rows

C3 = math.sqrt(6) / 9  # Hessian-Lipschitz constant of log-sum-exp, for every C >= 2 [theory 5.6, 3a]
BLOCK = 64  # rows gathered, cast and scaled at once: 64 x 784 float64 stay in the second-level cache
ENUMERATED_MAPS = 4096


class SoftmaxParameters(NamedTuple):
    """What the kernels see."""

    n_classes: int
    l2: float


@helper
def gather(x, scale, rows, first, last, out):  # type: ignore[no-untyped-def]
    """out[k] = scale * x[rows[first + k]]: rows as floats, for matrix products."""
    for k in range(last - first):
        r = rows[first + k]
        for j in range(out.shape[1]):
            out[k, j] = scale * x[r, j]


@helper
def softmax_rows(z):  # type: ignore[no-untyped-def]
    """Replace every row of z by its softmax; returns the log-sum-exp of each row."""
    lse = np.empty(z.shape[0], z.dtype)
    for k in range(z.shape[0]):
        top = z[k, 0]
        for c in range(1, z.shape[1]):
            top = max(top, z[k, c])
        total = top * 0
        for c in range(z.shape[1]):
            z[k, c] = np.exp(z[k, c] - top)
            total += z[k, c]
        for c in range(z.shape[1]):
            z[k, c] /= total
        lse[k] = top + np.log(total)
    return lse


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    matrix = w.reshape(loss.n_classes, x.shape[1])
    total = 0.5 * loss.l2 * np.dot(w, w)
    block = np.empty((min(BLOCK, len(rows)), x.shape[1]), w.dtype)
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        gather(x, scale, rows, first, last, block)
        z = np.dot(block[: last - first], matrix.T)
        for k in range(last - first):
            right = z[k, y[rows[first + k]]]
            top = z[k].max()
            total += coef[first + k] * (top + np.log(np.exp(z[k] - top).sum()) - right)
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    matrix = w.reshape(loss.n_classes, x.shape[1])
    result = out.reshape(loss.n_classes, x.shape[1])
    for j in range(len(w)):
        out[j] = loss.l2 * w[j]
    block = np.empty((min(BLOCK, len(rows)), x.shape[1]), w.dtype)
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        gather(x, scale, rows, first, last, block)
        part = block[: last - first]
        residual = np.dot(part, matrix.T)
        softmax_rows(residual)
        for k in range(last - first):
            residual[k, y[rows[first + k]]] -= 1
            for c in range(loss.n_classes):
                residual[k, c] *= coef[first + k]
        result += np.dot(residual.T, part)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    matrix = w.reshape(loss.n_classes, x.shape[1])
    direction = v.reshape(loss.n_classes, x.shape[1])
    result = out.reshape(loss.n_classes, x.shape[1])
    for j in range(len(w)):
        out[j] = loss.l2 * v[j]
    block = np.empty((min(BLOCK, len(rows)), x.shape[1]), w.dtype)
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        gather(x, scale, rows, first, last, block)
        part = block[: last - first]
        p = np.dot(part, matrix.T)
        softmax_rows(p)
        a = np.dot(part, direction.T)
        for k in range(last - first):
            mean = p[k, 0] * 0
            for c in range(loss.n_classes):
                mean += p[k, c] * a[k, c]
            for c in range(loss.n_classes):
                a[k, c] = coef[first + k] * p[k, c] * (a[k, c] - mean)
        result += np.dot(a.T, part)


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    features = x.shape[1]
    matrix = w.reshape(loss.n_classes, features)
    out[:, :] = 0.0
    for j in range(len(w)):
        out[j, j] = loss.l2
    row = np.empty((1, features), w.dtype)
    for k in range(len(rows)):
        gather(x, scale, rows, k, k + 1, row)
        p = np.dot(row, matrix.T)
        softmax_rows(p)
        for c in range(loss.n_classes):
            for e in range(loss.n_classes):
                s = coef[k] * ((p[0, c] if c == e else 0.0) - p[0, c] * p[0, e])
                for a in range(features):
                    for b in range(features):
                        out[c * features + a, e * features + b] += s * row[0, a] * row[0, b]


def correct(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    """Share of rows whose largest logit is the label's (the first of equal logits counts)."""
    matrix = w.reshape(loss.n_classes, x.shape[1])
    block = np.empty((min(BLOCK, len(rows)), x.shape[1]), w.dtype)
    total = 0.0
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        gather(x, scale, rows, first, last, block)
        z = np.dot(block[: last - first], matrix.T)
        for k in range(last - first):
            if np.argmax(z[k]) == y[rows[first + k]]:
                total += coef[first + k]
    return total


implements(SoftmaxParameters, value=value, gradient=gradient, hvp=hvp, hessian=hessian, correct=correct)


@dataclass(frozen=True)
class Softmax(Loss):
    """Multinomial logistic regression over free logits, labels 0 .. n_classes - 1, no intercept of its own.

    l(W; x, y) = log sum_c e^(Wx)_c - (Wx)_y + (l2/2) ||W||_F^2, d = n_classes * p.

    Parameters
    ----------
    n_classes : int
        C >= 2.
    l2 : float
        l2 coefficient: the factor of (1/2)||W||_F^2, >= 0.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0, 0.0], [1.0, 2.0]]], [[0, 2]])
    >>> problem = pfl.Problem(pfl.losses.Softmax(3), fed)
    >>> problem.dim, round(float(problem.value(np.zeros(6))[0]), 6)
    (6, 1.098612)
    """

    n_classes: int
    l2: float = 0.0
    classifies: ClassVar[bool] = True
    canonical_link: ClassVar[bool] = True
    convex: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            isinstance(self.n_classes, (int, np.integer)) and self.n_classes >= 2,
            f"Softmax: n_classes = {self.n_classes}; must be an integer >= 2",
        )
        checked_hyperparameter("Softmax", "l2", self.l2)

    def dim(self, fed: Federation) -> int:
        return int(self.n_classes) * fed.n_features

    def parameters(self, fed: Federation, dtype: np.dtype) -> SoftmaxParameters:
        return SoftmaxParameters(int(self.n_classes), dtype.type(self.l2))

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        at_zero = float(np.linalg.norm(center)) <= radius and self.n_classes == 2
        return frozenset({"L", "L_datum"} if at_zero else ())

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        return class_labels(self, fed, int(self.n_classes))

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
        m, n = row_moments(fed), fed.n_users
        two = self.n_classes == 2
        # C >= 3: the sup needs a direction in which every feature vector is positive; nonnegative nonzero features have
        # one
        positive = all(bool(((r := user_rows(fed, i)[0]) >= 0).all() and (r.sum(1) > 0).all()) for i in range(n))
        known = Constant.exact if two or positive else Constant.upper
        c = {
            "B": self._gradient_bound(fed, m),
            "L": known(
                m.lmax_s / 2,
                "lmax(S)/2"
                + (", attained at W = 0" if two else ", a supremum" if positive else "")
                + " [theory 5.6, 3d]",
            ),
            "rho": Constant.upper(C3 * third_directional(m), "(sqrt 6/9) lmax(E||x||xx^T) [theory 5.6, 3e]"),
            "sigma_G": Constant.upper(np.sqrt(2 * m.m2), "2 E||x||^2 [theory 5.6, 3f]"),
            "sigma_H": Constant.upper(np.sqrt(m.m4) / 2, "E||x||^4/4 [theory 5.6, 3f]"),
            "B_datum": Constant.exact(math.sqrt(2) * m.radius, "sqrt 2 max ||x||, not attained [theory 5.6]"),
            "L_datum": known(m.radius**2 / 2, "max ||x||^2/2 [theory 5.6]"),
        }
        if self.l2:
            c["L"], c["L_datum"] = c["L"].plus(self.l2, "l2"), c["L_datum"].plus(self.l2, "l2")
            for name in ("B", "B_datum"):
                if radius is None:
                    c[name] = Constant.none(n, "the l2 term grows linearly; give radius= for a ball of w")
                else:
                    c[name] = c[name].plus(
                        self.l2 * (radius + float(np.linalg.norm(ball_center(self.dim(fed), center)))),
                        f"l2 on the ball of radius {radius:g}",
                        "upper",
                    )
        return c | self._data_constants(fed, float(m.radius.max()), radius, center, metric, kappa)

    def _gradient_bound(self, fed: Federation, m: RowMoments) -> Constant:
        values, exact = math.sqrt(2) * np.minimum(m.m1, np.sqrt(m.lmax_s)), True
        for i in range(fed.n_users):
            x, pi, y = user_rows(fed, i)
            assert y is not None
            if self.n_classes ** len(x) > ENUMERATED_MAPS:
                exact = False
                continue
            eye = np.eye(self.n_classes)
            maps = np.array(list(itertools.product(range(self.n_classes), repeat=len(x))))
            sums = np.einsum("kmc,m,mp->kcp", eye[maps] - eye[y], pi, x)
            values[i] = np.sqrt((sums**2).sum((1, 2)).max())
        if exact:
            return Constant.exact(values, "max over maps j -> k_j, not attained [theory 5.6, 3b]")
        return Constant.upper(values, "sqrt 2 min(E||x||, sqrt lmax S) [theory 5.6, 3c]")

    def _data_constants(
        self,
        fed: Federation,
        x_max: float,
        radius: float | None,
        center: NDArray | None,
        metric: str | None,
        kappa: float | None,
    ) -> dict[str, Constant]:
        metric = checked_metric(metric, kappa, "labelled")
        n = fed.n_users
        if radius is None:
            none = Constant.none(n, "features move: give radius= for a ball of w")
            return {"lip_gradient_z": none, "lip_hessian_z": none}
        reach = radius + float(np.linalg.norm(ball_center(self.dim(fed), center)))
        where = f"ball of radius {radius:g} [theory 5.8, 5g]"
        if metric == "euclidean" or kappa is None:
            gradient = Constant.none(
                n, "labels move the gradient but not ||x - x'||; use metric='labelled' with kappa="
            )
        else:
            gradient = Constant.upper(
                np.full(n, max(math.sqrt(2) + reach * x_max / 2, math.sqrt(2) * x_max / kappa)),
                f"max(sqrt 2 + RX/2, sqrt 2 X/kappa), {where}",
            )
        return {
            "lip_gradient_z": gradient,
            "lip_hessian_z": Constant.upper(
                np.full(n, x_max + C3 * reach * x_max**2), f"X + (sqrt 6/9) R X^2, {where}"
            ),
        }
