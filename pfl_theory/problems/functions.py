"""User functions given as Python callables: the slow path for witnesses and for a researcher's own model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..constants import Constant
from ..errors import InputError, require
from ..losses.noise import Noise

PointFunction = Callable[[NDArray], NDArray]


class FunctionOracle:
    """f_i from callables on (n, d) points."""

    kind = "functions"

    def __init__(
        self,
        value: PointFunction,
        gradient: PointFunction,
        hvp: Callable[[NDArray, NDArray], NDArray] | None,
        hessian: PointFunction | None,
        n_users: int,
        dim: int,
        noise: Noise | None,
        constants: Mapping[str, Constant] | None,
        meta_smoothness: Callable[[float], tuple[NDArray, NDArray]] | None = None,
        lowest: ArrayLike | None = None,
    ) -> None:
        require(
            int(n_users) == n_users and n_users >= 1, f"from_functions: n_users = {n_users}; must be an integer >= 1"
        )
        require(int(dim) == dim and dim >= 1, f"from_functions: dim = {dim}; must be an integer >= 1")
        self.n_users, self.dim, self.dtype = int(n_users), int(dim), np.dtype(np.float64)
        self._value, self._gradient, self._hvp, self._hessian = value, gradient, hvp, hessian
        self.noise, self._constants, self._meta_smoothness = noise, dict(constants or {}), meta_smoothness
        floors = np.full(n_users, -np.inf) if lowest is None else np.asarray(lowest, dtype=np.float64)
        require(
            floors.shape in ((), (n_users,)) and not np.isnan(floors).any(),
            f"from_functions: lowest has shape {floors.shape}; give one lower bound for all f_i, or one a user "
            f"({n_users})",
        )
        self.lowest = np.broadcast_to(floors, (n_users,))
        self.exact_only = ""  # why batches cannot be drawn, where they cannot
        self.has_hvp, self.has_hessian = hvp is not None or hessian is not None, hessian is not None or hvp is not None

    def _points(self, w: NDArray) -> NDArray:
        return np.ascontiguousarray(np.broadcast_to(w, (self.n_users, self.dim)))

    def _checked(self, result: Any, shape: tuple[int, ...], what: str) -> NDArray:
        out = np.asarray(result, dtype=np.float64)
        require(out.shape == shape, f"from_functions: {what} returned shape {out.shape}; must be {shape}")
        return out

    def value(self, w: NDArray) -> NDArray:
        return self._checked(self._value(self._points(w)), (self.n_users,), "value")

    def gradient(self, w: NDArray) -> NDArray:
        return self._checked(self._gradient(self._points(w)), (self.n_users, self.dim), "gradient")

    def hvp(self, w: NDArray, v: NDArray) -> NDArray:
        if self._hvp is not None:
            return self._checked(self._hvp(self._points(w), self._points(v)), (self.n_users, self.dim), "hvp")
        if self._hessian is None:
            raise InputError(
                "from_functions: no hvp and no hessian were given; give hvp=, or use the first-order or "
                "Hessian-free variant"
            )
        return np.asarray(np.einsum("nij,nj->ni", self.hessian(w), self._points(v)))

    def hessian(self, w: NDArray) -> NDArray:
        if self._hessian is not None:
            return self._checked(self._hessian(self._points(w)), (self.n_users, self.dim, self.dim), "hessian")
        columns = [self.hvp(w, np.broadcast_to(e, (self.n_users, self.dim))) for e in np.eye(self.dim)]
        return np.stack(columns, axis=-1)

    def accuracy(self, w: NDArray) -> NDArray:
        raise InputError("from_functions: functions predict no class, so there is no accuracy; use value()")

    def constants(self, **keywords: Any) -> dict[str, Constant]:
        return dict(self._constants)

    def meta_smoothness(self, alpha: float) -> tuple[NDArray, NDArray] | None:
        return None if self._meta_smoothness is None else self._meta_smoothness(alpha)
