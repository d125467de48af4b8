"""One loss on the rows of a federation: value, gradient, Hessian-vector product and Hessian of every f_i, by compiled
kernels over users.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..errors import InputError, require
from ..federations.federation import Federation
from ..kernels.jit import chunks, driver_for, kernel, over_users
from ..losses import dispatch
from ..losses.loss import Loss
from ..rigour.rounding import weigh_equally

# rows a user at most; no power of two, so that parts of scratch this far apart do not fall on one cache line's place
LARGEST_GRAM = 264
KEPT_GRAM_SHARE = 0.45  # Gram matrices are kept only if they take at most this share of the data's memory again

_value, _gradient, _hvp, _hessian, _correct = (
    dispatch.value,
    dispatch.gradient,
    dispatch.hvp,
    dispatch.hessian,
    dispatch.correct,
)


@kernel
def value_users(loss, x, y, scale, weights, offsets, w, first, last, out):  # type: ignore[no-untyped-def]
    """out[i] = f_i(w)."""
    for i in range(first, last):
        rows = np.arange(offsets[i], offsets[i + 1])
        out[i] = _value(loss, i, x, y, scale, rows, weights[offsets[i] : offsets[i + 1]], w[i if w.shape[0] > 1 else 0])


@kernel
def gradient_users(loss, x, y, scale, weights, offsets, w, first, last, out):  # type: ignore[no-untyped-def]
    """out[i] = grad f_i(w)."""
    for i in range(first, last):
        rows = np.arange(offsets[i], offsets[i + 1])
        _gradient(
            loss, i, x, y, scale, rows, weights[offsets[i] : offsets[i + 1]], w[i if w.shape[0] > 1 else 0], out[i]
        )


@kernel
def hvp_users(loss, x, y, scale, weights, offsets, w, v, first, last, out):  # type: ignore[no-untyped-def]
    """out[i] = Hess f_i(w) v."""
    for i in range(first, last):
        rows = np.arange(offsets[i], offsets[i + 1])
        _hvp(
            loss,
            i,
            x,
            y,
            scale,
            rows,
            weights[offsets[i] : offsets[i + 1]],
            w[i if w.shape[0] > 1 else 0],
            v[i if v.shape[0] > 1 else 0],
            out[i],
        )


@kernel
def hessian_users(loss, x, y, scale, weights, offsets, w, first, last, out):  # type: ignore[no-untyped-def]
    """out[i] = Hess f_i(w)."""
    for i in range(first, last):
        rows = np.arange(offsets[i], offsets[i + 1])
        _hessian(
            loss, i, x, y, scale, rows, weights[offsets[i] : offsets[i + 1]], w[i if w.shape[0] > 1 else 0], out[i]
        )


@kernel
def correct_users(loss, x, y, scale, weights, offsets, w, first, last, out):  # type: ignore[no-untyped-def]
    """out[i] = the share of rows of user i that w predicts right."""
    for i in range(first, last):
        rows = np.arange(offsets[i], offsets[i + 1])
        out[i] = _correct(
            loss, i, x, y, scale, rows, weights[offsets[i] : offsets[i + 1]], w[i if w.shape[0] > 1 else 0]
        )


@kernel
def gram_users(x, scale, offsets, starts, first, last, out):  # type: ignore[no-untyped-def]
    """Gram matrices of the users' rows, one after the other; user i's begins at starts[i]."""
    for i in range(first, last):
        lo, m = offsets[i], offsets[i + 1] - offsets[i]
        for a in range(m):
            for b in range(a + 1):
                total = 0.0
                for j in range(x.shape[1]):
                    total += (scale * x[lo + a, j]) * (scale * x[lo + b, j])
                out[starts[i] + a * m + b] = total
                out[starts[i] + b * m + a] = total


OPERATIONS = {"hvp": "Hessian-vector product", "hessian": "Hessian"}


class RowOracle:
    """f_i(w) = sum_k weights_k l(w; z_k) over the rows of user i."""

    kind = "rows"

    def __init__(self, loss: Loss, fed: Federation, dtype: np.dtype) -> None:
        require(dtype in (np.float64, np.float32), f"Problem: dtype = {dtype}; choose float64 or float32")
        self.loss, self.fed, self.dtype = loss, fed, dtype
        self.n_users, self.dim = fed.n_users, loss.dim(fed)
        self.parameters = loss.parameters(fed, dtype)
        self.y = loss.targets(fed, dtype)
        self.x = fed.x if fed.x.dtype.kind in "ui" and fed.x.dtype.itemsize <= 2 else fed.x.astype(dtype, copy=False)
        self.scale = dtype.type(fed.scale)
        self.weights = fed.weights.astype(dtype, copy=False)
        self.work = float(self.x.size) * max(1, self.dim // fed.n_features)  # multiplications of one pass
        self.has_hvp, self.has_hessian = (dispatch.implemented(name, self.parameters) for name in ("hvp", "hessian"))

    def require_operation(self, operation: str, instead: str) -> None:
        """Refuse in a sentence what the loss does not have."""
        if not dispatch.implemented(operation, self.parameters):
            raise InputError(f"{self.loss.name} has no {OPERATIONS[operation]}; {instead}")

    def _call(self, driver: Any, out: NDArray, *points: NDArray, work: float) -> NDArray:
        driver = driver_for(driver, self.parameters)
        data = (self.parameters, self.x, self.y, self.scale, self.weights, self.fed.offsets, *points)
        over_users(lambda _, first, last: driver(*data, first, last, out), chunks(self.n_users, work))
        return out

    def value(self, w: NDArray) -> NDArray:
        return self._call(value_users, np.empty(self.n_users), w, work=self.work)

    def gradient(self, w: NDArray) -> NDArray:
        return self._call(gradient_users, np.empty((self.n_users, self.dim), self.dtype), w, work=2 * self.work)

    def hvp(self, w: NDArray, v: NDArray) -> NDArray:
        self.require_operation("hvp", "use the first-order or Hessian-free variant, or a loss that has one")
        return self._call(hvp_users, np.empty((self.n_users, self.dim), self.dtype), w, v, work=3 * self.work)

    def hessian(self, w: NDArray) -> NDArray:
        self.require_operation("hessian", "use hvp, or a loss that has one")
        return self._call(
            hessian_users, np.empty((self.n_users, self.dim, self.dim), self.dtype), w, work=self.dim * self.work
        )

    def accuracy(self, w: NDArray) -> NDArray:
        if not self.loss.classifies:
            raise InputError(
                f"{self.loss.name} predicts no class, so it has no accuracy; use value(), or a loss with classes"
            )
        return self._call(correct_users, np.empty(self.n_users), w, work=self.work)

    def constants(self, **keywords: Any) -> dict[str, Constant]:
        return self.loss.constants(self.fed, **keywords)

    def meta_smoothness(self, alpha: float) -> tuple[NDArray, NDArray] | None:
        """Exact Lipschitz constants of grad F_i and their rounding errors, where the loss knows them."""
        return self.loss.meta_smoothness(self.fed, alpha)

    @functools.cached_property
    def cumulative(self) -> NDArray:
        """Running sums of each user's weights for weighted draws; empty where all users have uniform weights."""
        if self.uniform:
            return np.empty(0)
        return np.concatenate([np.cumsum(self.fed.weights[self.fed.rows(i)]) for i in range(self.n_users)])

    @functools.cached_property
    def uniform(self) -> bool:
        """Whether every user weighs its rows equally."""
        return all(weigh_equally(self.fed.weights[self.fed.rows(i)]) for i in range(self.n_users))

    @property
    def small_grams(self) -> bool:
        """Whether the Gram matrices of all users are small beside the data."""
        squares = int((self.fed.sizes.astype(np.int64) ** 2).sum())
        return squares <= KEPT_GRAM_SHARE * self.x.size

    @functools.cached_property
    def gram(self) -> tuple[NDArray, NDArray] | None:
        """Kept Gram matrices (flat) and where each user's begins; None where the loss or the memory does not allow
        it.
        """
        if (
            not self.loss.one_margin
            or self.x.dtype != np.float64
            or int(self.fed.sizes.max()) > LARGEST_GRAM
            or self.dtype != np.float64
            or not self.small_grams
        ):
            return None
        starts = np.concatenate([[0], np.cumsum(self.fed.sizes.astype(np.int64) ** 2)])
        flat = np.empty(starts[-1])
        over_users(
            lambda _, first, last: gram_users(self.x, self.scale, self.fed.offsets, starts, first, last, flat),
            chunks(self.n_users, float(starts[-1]) * self.fed.n_features),
        )
        return flat, starts
