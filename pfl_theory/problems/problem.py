"""What algorithms and claims see: n users' functions f_i, the meta functions F_i, and their constants."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..constants import Constant
from ..errors import InputError, require
from ..federations.federation import Federation
from ..losses.loss import Loss, ball_center
from ..losses.noise import FiniteNoise
from ..losses.piecewise import Curve, Piecewise
from ..memory import remembered
from .constants import NAMES, beyond_squares, heterogeneity
from .curves import CurveOracle
from .functions import FunctionOracle, Noise, PointFunction
from .rows import RowOracle

PIXELS = 16  # so many features are an image, where the dtype does not say so
BRIGHT = 16  # largest value below which whole numbers are no pixels


class Problem:
    """n user functions f_i(w), f = (1/n) sum f_i, and F_i(w) = f_i(w - alpha grad f_i(w)).

    Parameters
    ----------
    loss : Loss
        From ``pfl_theory.losses``.
    federation : Federation
        The users' data; f_i is the weighted mean of the loss over the rows of user i.
    dtype : {"float64", "float32"}
        Arithmetic of points and kernels.

    Attributes
    ----------
    n_users, dim : int
        n and d.

    Notes
    -----
    Wherever a point is asked for, give shape (d,) for one common point or (n, d) for one point a user.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[0.0]], [[2.0]]])
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), fed)
    >>> problem.gradient([0.5]).ravel().tolist(), problem.meta_gradient([0.5], alpha=0.5).ravel().tolist()
    ([0.5, -1.5], [0.125, -0.375])
    """

    def __init__(self, loss: Loss, federation: Federation, dtype: Any = "float64") -> None:
        require(
            isinstance(loss, Loss),
            f"Problem: loss is {type(loss).__name__}; give one of pfl_theory.losses, or use Problem.from_functions",
        )
        require(
            isinstance(federation, Federation),
            f"Problem: federation is {type(federation).__name__}; use Federation.from_arrays",
        )
        _warn_of_pixels(loss, federation)
        self._oracle: RowOracle | FunctionOracle = RowOracle(loss, federation, np.dtype(dtype))

    @classmethod
    def from_functions(
        cls,
        value: PointFunction,
        gradient: PointFunction,
        hvp: Callable[[NDArray, NDArray], NDArray] | None = None,
        *,
        n_users: int,
        dim: int,
        hessian: PointFunction | None = None,
        noise: Noise | None = None,
        constants: Mapping[str, Constant] | None = None,
        meta_smoothness: Callable[[float], tuple[NDArray, NDArray]] | None = None,
        lowest: ArrayLike | None = None,
    ) -> Problem:
        """A problem from callables on points w (n, d), row i for user i.

        Parameters
        ----------
        value : callable (n, d) -> (n,)
        gradient : callable (n, d) -> (n, d)
        hvp : callable (w (n, d), v (n, d)) -> (n, d), optional
        hessian : callable (n, d) -> (n, d, d), optional
        noise : Noise, optional
            Noise of one datum's gradient and Hessian; without it batches are exact.
        constants : mapping of name to Constant, optional
            What is known of the functions; claims use nothing else.
        meta_smoothness : callable alpha -> ((n,), (n,)), optional
            Exact Lipschitz constants of grad F_i and their rounding errors, where known: claims then speak for all w.
        lowest : float or (n,) array_like, optional
            What no f_i goes below: statements about runs need F to be bounded below.

        Examples
        --------
        >>> import numpy as np, pfl_theory as pfl
        >>> value, gradient, hvp = lambda w: np.cos(w[:, 0]), lambda w: -np.sin(w), lambda w, v: -np.cos(w) * v
        >>> p = pfl.Problem.from_functions(value, gradient, hvp, n_users=1, dim=1)
        >>> float(p.meta_gradient([0.0], alpha=1.0)[0, 0])
        -0.0
        """
        problem = cls.__new__(cls)
        problem._oracle = FunctionOracle(
            value, gradient, hvp, hessian, n_users, dim, noise, constants, meta_smoothness, lowest
        )
        return problem

    @classmethod
    def from_curves(cls, curves: Piecewise | Sequence[Curve], noise: FiniteNoise | None = None) -> Problem:
        """Piecewise users of one variable, of whom everything is known: the witnesses of the lemmas.

        Parameters
        ----------
        curves : Piecewise or sequence of Curve
            One curve a user.
        noise : FiniteNoise, optional
            What the data of a user add; only where `curves` is a sequence (a Piecewise carries its own).

        Examples
        --------
        >>> import pfl_theory as pfl
        >>> from pfl_theory.losses.piecewise import Curve
        >>> problem = pfl.Problem.from_curves([Curve([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0])])
        >>> problem.kind, problem.constants()["L"].max()
        ('curves', 1.0)
        """
        given = isinstance(curves, Piecewise)
        require(not (given and noise is not None), "from_curves: a Piecewise carries its own noise; give it there")
        problem = cls.__new__(cls)
        problem._oracle = CurveOracle(curves if isinstance(curves, Piecewise) else Piecewise(curves, noise))
        return problem

    # -- shape -------------------------------------------------------------------------------------------------------

    @property
    def n_users(self) -> int:
        """Number of users n."""
        return self._oracle.n_users

    @property
    def dim(self) -> int:
        """Dimension d of w."""
        return self._oracle.dim

    @property
    def kind(self) -> str:
        """``"rows"`` (a loss on data), ``"curves"`` (piecewise functions of one variable) or ``"functions"``."""
        return self._oracle.kind

    @property
    def family(self) -> Piecewise:
        """The piecewise users and their noise, where the problem comes from curves."""
        if not isinstance(self._oracle, CurveOracle):
            raise InputError(f"this problem was made from {self.kind} and has no curves")
        return self._oracle.family

    @property
    def oracle(self) -> RowOracle | FunctionOracle:
        """How the functions are evaluated (for algorithms)."""
        return self._oracle

    @property
    def federation(self) -> Federation:
        """The federation, where the problem comes from rows."""
        if not isinstance(self._oracle, RowOracle):
            raise InputError(f"this problem was made from {self.kind} and has no federation")
        return self._oracle.fed

    @property
    def loss(self) -> Loss:
        """The loss, where the problem comes from rows."""
        if not isinstance(self._oracle, RowOracle):
            raise InputError(f"this problem was made from {self.kind} and has no loss")
        return self._oracle.loss

    def points(self, w: ArrayLike, name: str = "w") -> NDArray:
        """`w` as a C-contiguous (1, d) or (n, d) array of the problem's dtype."""
        a = np.asarray(w, dtype=self._oracle.dtype)
        if a.ndim == 0 and self.dim == 1:
            a = a.reshape(1)
        a = a.reshape(1, -1) if a.ndim == 1 else a
        good = a.ndim == 2 and a.shape[1] == self.dim and a.shape[0] in (1, self.n_users)
        require(
            good,
            f"{name} has shape {np.shape(w)}; give ({self.dim},) for one common point or ({self.n_users}, "
            f"{self.dim}) for one a user",
        )
        return np.ascontiguousarray(a)

    # -- f_i ---------------------------------------------------------------------------------------------------------

    def value(self, w: ArrayLike) -> NDArray:
        """f_i(w), shape (n,)."""
        return self._oracle.value(self.points(w))

    def gradient(self, w: ArrayLike) -> NDArray:
        """grad f_i(w), shape (n, d)."""
        return self._oracle.gradient(self.points(w))

    def hvp(self, w: ArrayLike, v: ArrayLike) -> NDArray:
        """Hess f_i(w) v, shape (n, d)."""
        return self._oracle.hvp(self.points(w), self.points(v, "v"))

    def hessian(self, w: ArrayLike) -> NDArray:
        """Hess f_i(w), shape (n, d, d); for small d (memory n d^2)."""
        require(
            self.n_users * self.dim**2 <= 2**28,
            f"hessian: {self.n_users} x {self.dim} x {self.dim} numbers do not fit; use hvp",
        )
        return self._oracle.hessian(self.points(w))

    def accuracy(self, w: ArrayLike) -> NDArray:
        """Share of a user's rows whose label w predicts, shape (n,)."""
        return self._oracle.accuracy(self.points(w))

    # -- F_i ---------------------------------------------------------------------------------------------------------

    def adapted(self, w: ArrayLike, alpha: float) -> NDArray:
        """w - alpha grad f_i(w), shape (n, d)."""
        p, alpha = self.points(w), checked_alpha(alpha)
        return p - self._oracle.dtype.type(alpha) * self._oracle.gradient(p)

    def meta_value(self, w: ArrayLike, alpha: float) -> NDArray:
        """F_i(w) = f_i(w - alpha grad f_i(w)), shape (n,)."""
        return self._oracle.value(self.adapted(w, alpha))

    def meta_gradient(self, w: ArrayLike, alpha: float) -> NDArray:
        """grad F_i(w) = (I - alpha Hess f_i(w)) grad f_i(w - alpha grad f_i(w)), shape (n, d)."""
        if checked_alpha(alpha) == 0:
            return self.gradient(w)
        p = self.points(w)
        g = self._oracle.gradient(self.adapted(p, alpha))
        return g - self._oracle.dtype.type(alpha) * self._oracle.hvp(p, g)

    def meta_smoothness(self, alpha: float) -> tuple[NDArray, NDArray] | None:
        """Exact Lipschitz constant of every grad F_i over the whole space and its rounding error, shapes (n,); None
        where unknown.
        """
        return remembered(self, ("meta_smoothness", alpha), lambda: self._oracle.meta_smoothness(alpha))

    def lower_bounds(self) -> NDArray:
        """What no f_i, and with it no F_i, goes below, shape (n,); -infinity where nothing is known."""
        o = self._oracle
        if isinstance(o, RowOracle):
            return o.loss.lowest(o.fed)
        return o.lowest if isinstance(o, FunctionOracle) else np.full(self.n_users, -np.inf)

    # -- heterogeneity at a point --------------------------------------------------------------------------------------

    def gamma_G(self, w: ArrayLike) -> float:  # noqa: N802 - the paper's symbol
        """((1/n) sum ||grad f_i - grad f||^2)^(1/2) at w, exact."""
        return _rms_about_mean(self.gradient(w))

    def gamma_H(self, w: ArrayLike) -> float:  # noqa: N802 - the paper's symbol
        """((1/n) sum ||Hess f_i - Hess f||^2)^(1/2) at w, operator norm, exact; for small d."""
        h = self.hessian(w)
        return float(np.sqrt((np.abs(np.linalg.eigvalsh(h - h.mean(0))).max(1) ** 2).mean()))

    def gamma_F(self, w: ArrayLike, alpha: float) -> float:  # noqa: N802 - the paper's symbol
        """((1/n) sum ||grad F_i - grad F||^2)^(1/2) at w, exact."""
        return _rms_about_mean(self.meta_gradient(w, alpha))

    # -- constants -----------------------------------------------------------------------------------------------------

    def constants(
        self,
        *,
        radius: float | None = None,
        center: ArrayLike | None = None,
        metric: str | None = None,
        kappa: float | None = None,
    ) -> dict[str, Constant]:
        """Constants of the assumptions, each with how it is known.

        Parameters
        ----------
        radius, center : float, (d,) array_like, optional
            Ball of w for constants that do not exist on the whole space.
        metric, kappa : str, float, optional
            Metric of the data for `lip_gradient_z`, `lip_hessian_z`.

        Returns
        -------
        dict of str to Constant
            B, L, rho, sigma_G, sigma_H (per user), gamma_G, gamma_H (one number), B_datum, L_datum (per datum),
            lip_gradient_z, lip_hessian_z.
        """
        require(
            radius is None or (np.isfinite(radius) and radius >= 0), f"radius = {radius}; must be a finite number >= 0"
        )
        keywords = {
            "radius": radius,
            "center": None if center is None else np.asarray(center, dtype=np.float64),
            "metric": metric,
            "kappa": kappa,
        }
        where = None if center is None else np.asarray(center, dtype=np.float64).tobytes()
        return dict(remembered(self, ("constants", radius, where, metric, kappa), lambda: self._constants(**keywords)))

    def _constants(self, **keywords: Any) -> dict[str, Constant]:
        rows = isinstance(self._oracle, RowOracle)
        unfit = remembered(self, "beyond squares", lambda: beyond_squares(self.federation)) if rows else None
        if unfit is not None:
            return {name: Constant.none(self.n_users if of_users else 1, unfit) for name, of_users in NAMES.items()}
        found = self._oracle.constants(**keywords)
        if keywords["radius"] is not None:
            center = ball_center(self.dim, keywords["center"])
            kept = self.loss.attained_on(keywords["radius"], center) if rows else frozenset()
            found = {name: c if name in kept else c.on_ball(keywords["radius"]) for name, c in found.items()}
        return found | heterogeneity(self.loss, self.federation, found) if rows else found

    def pooled(self) -> Problem:
        """One user whose function is the average f: what centralised training minimises.

        On rows it is the loss on the pooled rows. Functions, and users with curvatures of their own, are averaged: then
        there are no batches.
        """
        o = self._oracle
        if isinstance(o, RowOracle) and o.loss.poolable():
            return Problem(o.loss, o.fed.pooled(), o.dtype)
        problem = Problem.from_functions(
            lambda w: o.value(w).mean(keepdims=True),
            lambda w: o.gradient(w).mean(0, keepdims=True),
            (lambda w, v: o.hvp(w, v).mean(0, keepdims=True)) if o.has_hvp else None,
            n_users=1,
            dim=o.dim,
        )
        assert isinstance(problem._oracle, FunctionOracle)
        if isinstance(o, RowOracle) or o.noise is not None:
            problem._oracle.exact_only = "the average of these users' functions has no rows to draw from"
        return problem


def checked_alpha(alpha: float) -> float:
    """The inner step, refused unless finite and >= 0."""
    require(bool(np.isfinite(alpha) and alpha >= 0), f"alpha = {alpha}; must be a finite number >= 0")
    return float(alpha)


def _rms_about_mean(vectors: NDArray) -> float:
    return float(np.sqrt(((vectors - vectors.mean(0)) ** 2).sum(1).mean()))


def _warn_of_pixels(loss: Loss, federation: Federation) -> None:
    """Images of 0 to 255 in a classifier make gradients 255^2 times those of images of 0 to 1: steps then overshoot."""
    x = federation.x
    if not loss.classifies or federation.scale != 1.0 or not x.size:
        return
    some = x[:: max(1, len(x) // 256)]
    whole = x.dtype.kind in "ui" or bool((some == np.rint(some)).all())
    many = x.dtype == np.uint8 or x.shape[1] >= PIXELS
    if whole and many and float(some.min()) >= 0 and BRIGHT <= float(some.max()) <= 255:
        warnings.warn(
            f"{federation.name}: whole numbers 0 to {float(some.max()):g} look like pixels; give scale=1/255 to the "
            "federation, or steps of usual sizes overshoot",
            UserWarning,
            stacklevel=3,
        )
