"""What a loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..constants import Constant
from ..errors import one_of, require
from ..federations.federation import Federation


class Loss(ABC):
    """A loss l(w; z), z = (x, y): hyperparameters, parameters for the kernels, and the formulas of its constants.

    Subclasses are frozen dataclasses. The expectation over a user's rows is f_i; points are flat, w = W.ravel()
    row-major; features carry no intercept of their own (append a column of ones).
    """

    classifies: ClassVar[bool] = False
    canonical_link: ClassVar[bool] = False
    """Whether l = lse-like(margins of x) - <label, margins>: the label enters the gradient linearly, the Hessian not at
    all.
    """
    convex: ClassVar[bool] = False
    """Whether every l(.; z) is convex; False where it is not known."""
    one_margin: ClassVar[bool] = False
    """Whether l depends on w through <w, x> and (l2/2)||w||^2 alone: then local steps can run on Gram matrices."""
    step_by_rounding: ClassVar[bool] = False
    """Whether the Hessian-free difference takes its step from the precision where none is given: for losses whose
    weights and gradients are too far from 1 for one step to fit them all.
    """

    @property
    def name(self) -> str:
        """Name in tables."""
        return type(self).__name__

    @abstractmethod
    def dim(self, fed: Federation) -> int:
        """Dimension d of w."""

    @abstractmethod
    def parameters(self, fed: Federation, dtype: np.dtype) -> Any:
        """The flat NamedTuple that enters the kernels."""

    @abstractmethod
    def constants(
        self,
        fed: Federation,
        *,
        radius: float | None = None,
        center: NDArray | None = None,
        metric: str | None = None,
        kappa: float | None = None,
    ) -> dict[str, Constant]:
        """B, L, rho, sigma_G, sigma_H per user; B_datum, L_datum per datum; lip_gradient_z, lip_hessian_z.

        Parameters
        ----------
        radius, center : float and (d,), optional
            Constants on the ball ||w - center|| <= radius (center 0 when absent) where they do not exist on the whole
            space.
        metric, kappa : {"euclidean", "labelled"} and float, optional
            Metric d_Z of data: ||x - x'||, or ||x - x'|| + kappa [y != y'].
        """

    def targets(self, fed: Federation, dtype: np.dtype) -> NDArray:
        """Labels as the kernels read them; a loss without labels gets zeros."""
        return np.zeros(1, dtype=dtype)

    @property
    def reads_labels(self) -> bool:
        """Whether l depends on y."""
        return type(self).targets is not Loss.targets

    def of_user(self, user: int) -> Loss:
        """The loss of one user alone (another one only where users have hyperparameters of their own)."""
        return self

    def meta_smoothness(self, fed: Federation, alpha: float) -> tuple[NDArray, NDArray] | None:
        """Exact Lipschitz constant of grad F_i per user and its rounding error, where there is a closed form."""
        return None

    def heterogeneity(self, fed: Federation) -> dict[str, Constant]:
        """gamma_G and gamma_H where the loss knows them for every w; empty where it does not."""
        return {}

    def attained_on(self, radius: float, center: NDArray) -> frozenset[str]:
        """Names of the constants whose exact values on the whole space are those on this ball too; of any other it is
        an upper bound there.
        """
        return frozenset()

    def roundings(self, fed: Federation, constants: Mapping[str, Constant]) -> float:
        """Relative error of these constants beyond that of sums over rows and eigenvalues, in units of 2^-53."""
        return 0.0

    def lowest(self, fed: Federation) -> NDArray:
        """A proved lower bound of every f_i over all w, shape (n,); -infinity where none is known."""
        return np.full(fed.n_users, -np.inf)

    def poolable(self) -> bool:
        """Whether the average f is this loss on the pooled rows (not so where users have hyperparameters of their
        own).
        """
        return True

    def span_l2(self) -> float:
        """The l2 coefficient for Gram steps (only where `one_margin`)."""
        return 0.0


def real_targets(loss: Loss, fed: Federation, dtype: np.dtype) -> NDArray:
    """Real-valued targets, required."""
    require(fed.y is not None, f"{loss.name}: the federation has no targets y; give y= to Federation.from_arrays")
    assert fed.y is not None
    return fed.y.astype(dtype)


def class_labels(loss: Loss, fed: Federation, n_classes: int) -> NDArray:
    """Integer labels 0 .. n_classes - 1, required."""
    require(fed.y is not None, f"{loss.name}: the federation has no labels y; give y= to Federation.from_arrays")
    assert fed.y is not None
    y = fed.y
    whole = y.astype(np.int64)
    wrong = np.flatnonzero((whole != y) | (whole < 0) | (whole >= n_classes))
    if len(wrong):
        require(
            False,
            f"{loss.name}: label {y[wrong[0]]} of user {int(fed.owner[wrong[0]])} is outside the classes 0 to "
            f"{n_classes - 1}; renumber the labels",
        )
    return whole


def checked_hyperparameter(loss: str, name: str, value: float, *, positive: bool = False) -> None:
    """A finite number >= 0 (or > 0)."""
    good = np.isfinite(value) and (value > 0 if positive else value >= 0)
    require(bool(good), f"{loss}: {name} = {value}; must be a finite number {'> 0' if positive else '>= 0'}")


def checked_metric(metric: str | None, kappa: float | None, default: str) -> str:
    """The metric's name and a positive kappa, or an error."""
    require(kappa is None or bool(np.isfinite(kappa) and kappa > 0), f"kappa = {kappa}; must be > 0")
    one_of("metric", metric or default, ("euclidean", "labelled"))
    return metric or default


def ball_center(dim: int, center: NDArray | None) -> NDArray:
    """The center of the ball of w, 0 when absent."""
    c = np.zeros(dim) if center is None else np.asarray(center, dtype=np.float64)
    require(c.shape == (dim,), f"center has shape {c.shape}; must be ({dim},)")
    return c
