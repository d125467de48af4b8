"""Noise of functions that are not given by rows: any sampler, or finitely many data, whose batches can be enumerated.

Finite noise in one variable is l(w; z) = f(w) + sum_k c_{z,k} S_k(w): the variances of Assumption 4 are exact, or
proved.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..rigour.rounding import weigh_equally


@dataclass(frozen=True)
class Noise:
    """Additive zero-mean noise of one datum's gradient and Hessian; a batch of D draws is off by its mean.

    Attributes
    ----------
    gradient : callable (rng, w (n, d)) -> (n, d), optional
        Noise of the gradient at one datum, independent over users.
    hvp : callable (rng, w (n, d), v (n, d)) -> (n, d), optional
        Noise of the Hessian at one datum times v.
    data : FiniteNoise, optional
        The data that it is noise of, where they are finitely many: only these can be drawn without replacement.
    """

    gradient: Callable[[np.random.Generator, NDArray], NDArray] | None = None
    hvp: Callable[[np.random.Generator, NDArray, NDArray], NDArray] | None = None
    data: FiniteNoise | None = None

    def batch_gradient(self, rng: np.random.Generator, w: NDArray, size: int, *, replace: bool) -> NDArray:
        """Noise of the mean gradient of a batch, shape (n, d): 0 where gradients have none."""
        if not replace and self.data is not None:
            return self.data.gradients(w[:, 0])[_rows(len(w)), self.data.subsets(rng, len(w), size)].mean(1)[:, None]
        if self.gradient is None:
            return np.zeros_like(w)
        return np.asarray(np.mean([self.gradient(rng, w) for _ in range(size)], axis=0))

    def batch_hvp(self, rng: np.random.Generator, w: NDArray, v: NDArray, size: int, *, replace: bool) -> NDArray:
        """Noise of the mean Hessian of a batch times v, shape (n, d): 0 where Hessians have none."""
        if not replace and self.data is not None:
            return self.data.hessians(w[:, 0])[_rows(len(w)), self.data.subsets(rng, len(w), size)].mean(1)[:, None] * v
        if self.hvp is None:
            return np.zeros_like(w)
        return np.asarray(np.mean([self.hvp(rng, w, v) for _ in range(size)], axis=0))


def _rows(n: int) -> NDArray:
    return np.arange(n)[:, None]


@dataclass(frozen=True)
class Flat:
    """S'(w) = 1: noise that does not depend on w."""

    def slope(self, w: NDArray) -> NDArray:
        """S'(w)."""
        return np.ones_like(w)

    def curvature(self, w: NDArray) -> NDArray:
        """S''(w)."""
        return np.zeros_like(w)

    @property
    def suprema(self) -> tuple[float, float, float]:
        """Suprema of |S'|, |S''| and of the next derivative."""
        return 1.0, 0.0, 0.0


def _checked(shape: str, center: float, name: str, width: float) -> None:
    require(bool(np.isfinite(center)), f"{shape}: center = {center}; must be a finite number")
    require(bool(np.isfinite(width) and width > 0), f"{shape}: {name} = {width}; must be a finite number > 0")


@dataclass(frozen=True)
class Sine:
    """S'(w) = eps sin((w - center)/eps): Hessian noise at almost no gradient noise."""

    center: float
    eps: float

    def __post_init__(self) -> None:
        _checked("Sine", self.center, "eps", self.eps)

    def slope(self, w: NDArray) -> NDArray:
        """S'(w)."""
        return np.asarray(self.eps * np.sin((w - self.center) / self.eps))

    def curvature(self, w: NDArray) -> NDArray:
        """S''(w)."""
        return np.asarray(np.cos((w - self.center) / self.eps))

    @property
    def suprema(self) -> tuple[float, float, float]:
        """Suprema of |S'|, |S''| and of the next derivative."""
        return self.eps, 1.0, 1.0 / self.eps


@dataclass(frozen=True)
class Bump:
    """S'(w) = (1 - ((w - center)/radius)^2)^3 inside the radius, 0 outside: twice differentiable noise of bounded
    support.
    """

    center: float
    radius: float

    def __post_init__(self) -> None:
        _checked("Bump", self.center, "radius", self.radius)

    def slope(self, w: NDArray) -> NDArray:
        """S'(w)."""
        return np.maximum(1.0 - ((w - self.center) / self.radius) ** 2, 0.0) ** 3

    def curvature(self, w: NDArray) -> NDArray:
        """S''(w)."""
        t = (w - self.center) / self.radius
        return -6.0 * t * np.maximum(1.0 - t**2, 0.0) ** 2 / self.radius

    @property
    def suprema(self) -> tuple[float, float, float]:
        """Suprema of |S'|: 1; of |S''|: 96/(25 sqrt 5)/radius, at t = 1/sqrt 5, rounded up; of the next derivative:
        6/radius^2, at 0.
        """
        return 1.0, 1.7174 / self.radius, 6.0 / self.radius**2


MOST_BATCHES = 100_000
SHAPES = {"flat": Flat, "sine": Sine, "bump": Bump}


@dataclass(frozen=True, eq=False)
class FiniteNoise:
    """m data of every user, equally likely or not, datum z adding sum_k coefficients[z, k] S_k(w) to its loss.

    Attributes
    ----------
    coefficients : ndarray, shape (m, k)
        Columns of mean zero, so that the average loss stays f.
    shapes : sequence of Flat, Sine or Bump
    weights : ndarray, shape (m,), optional
        Probabilities; equal when absent.

    Examples
    --------
    >>> noise = FiniteNoise([[-0.5], [0.5]], [Flat()])
    >>> noise.sigma_G, noise.sigma_H
    (0.5, 0.0)
    """

    coefficients: NDArray
    shapes: Sequence[Flat | Sine | Bump]
    weights: NDArray | None = None

    def __post_init__(self) -> None:
        c = np.asarray(self.coefficients, dtype=np.float64)
        require(
            c.ndim == 2 and c.shape[1] == len(self.shapes),
            f"FiniteNoise: coefficients {c.shape} for {len(self.shapes)} shapes; give (m, k)",
        )
        m = len(c)
        p = np.full(m, 1.0 / m) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        require(
            p.shape == (m,) and bool((p > 0).all()) and abs(p.sum() - 1) < 1e-9,
            "FiniteNoise: weights must be m positive numbers that sum to 1",
        )
        require(bool(np.isfinite(c).all()), "FiniteNoise: coefficients contain NaN or infinity")
        mean = np.abs(p @ c)
        require(
            bool((mean <= 1e-12 * (1e-300 + np.abs(c).max(0))).all()),
            f"FiniteNoise: coefficients have mean {mean.max():.3g}; it must be zero",
        )
        object.__setattr__(self, "coefficients", c)
        object.__setattr__(self, "weights", p)

    @property
    def is_uniform(self) -> bool:
        """Whether all data are equally likely (needed to draw without replacement)."""
        return weigh_equally(np.asarray(self.weights))

    def gradients(self, w: NDArray) -> NDArray:
        """Noise of every datum's gradient at points w, shape w.shape + (m,)."""
        return np.stack([s.slope(w) for s in self.shapes], axis=-1) @ self.coefficients.T

    def hessians(self, w: NDArray) -> NDArray:
        """Noise of every datum's second derivative at points w, shape w.shape + (m,)."""
        return np.stack([s.curvature(w) for s in self.shapes], axis=-1) @ self.coefficients.T

    def _deviation(self, which: int) -> float:
        covariance = np.abs((self.coefficients.T * self.weights) @ self.coefficients)
        top = np.array([s.suprema[which] for s in self.shapes])
        return math.sqrt(float(top @ covariance @ top))

    @property
    def sigma_G(self) -> float:  # noqa: N802 - the paper's symbol
        """sup_w of the standard deviation of a datum's gradient: exact for one shape, a bound for several."""
        return self._deviation(0)

    @property
    def sigma_H(self) -> float:  # noqa: N802 - the paper's symbol
        """sup_w of the standard deviation of a datum's second derivative: exact for one shape but `Bump`, else a
        bound.
        """
        return self._deviation(1)

    def largest(self, which: int) -> float:
        """Bound of the noise of one datum: of its gradient (0), of its second (1) or third derivative (2)."""
        top = np.array([s.suprema[which] for s in self.shapes])
        return float((np.abs(self.coefficients) @ top).max())

    def batch(self, size: int, *, replace: bool = True) -> FiniteNoise:
        """The law of a batch's mean: finitely many values again, one a multiset (or a subset, without replacement) of
        the data.

        Examples
        --------
        >>> FiniteNoise([[-1.0], [1.0]], [Flat()]).batch(2).coefficients.ravel().tolist()
        [-1.0, 0.0, 1.0]
        """
        m = len(self.coefficients)
        if not replace:
            self.require_subsets(size)
            chosen = np.array(list(itertools.combinations(range(m), size)))
            means, p = self.coefficients[chosen].mean(1), np.full(len(chosen), 1.0 / len(chosen))
        else:
            count = math.comb(m + size - 1, size)
            require(
                count <= MOST_BATCHES,
                f"a batch of {size} from {m} data has {count} values; at most {MOST_BATCHES} are enumerated",
            )
            chosen = np.array(list(itertools.combinations_with_replacement(range(m), size)))
            counts = np.stack([(chosen == z).sum(1) for z in range(m)], axis=1)
            ways = np.array([math.factorial(size) / math.prod(math.factorial(int(c)) for c in row) for row in counts])
            means, p = counts @ self.coefficients / size, ways * np.prod(np.asarray(self.weights) ** counts, axis=1)
        return FiniteNoise(means - p @ means, self.shapes, p / p.sum())

    def require_subsets(self, size: int) -> None:
        """Refuse a batch that cannot be drawn without replacement."""
        m = len(self.coefficients)
        require(
            self.is_uniform and size <= m,
            f"a batch of {size} without replacement needs at least {size} equally likely data; there are {m}"
            f"{'' if self.is_uniform else ' of unequal weight'}",
        )

    def subsets(self, rng: np.random.Generator, n: int, size: int) -> NDArray:
        """Batches of `size` data without replacement, one a user, shape (n, size)."""
        return rng.permuted(np.tile(np.arange(len(self.coefficients)), (n, 1)), axis=1)[:, :size]

    def sampler(self) -> Noise:
        """One datum a draw, for algorithms."""

        def draw(rng: np.random.Generator, size: int) -> NDArray:
            return rng.choice(len(self.coefficients), size=size, p=self.weights)

        def gradient(rng: np.random.Generator, w: NDArray) -> NDArray:
            return self.gradients(w[:, 0])[np.arange(len(w)), draw(rng, len(w))][:, None]

        def hvp(rng: np.random.Generator, w: NDArray, v: NDArray) -> NDArray:
            return self.hessians(w[:, 0])[np.arange(len(w)), draw(rng, len(w))][:, None] * v

        return Noise(gradient, hvp, self)

    def as_data(self) -> dict[str, object]:
        """Plain data, for an instance's file."""
        names = {kind: name for name, kind in SHAPES.items()}
        shapes = [{"shape": names[type(s)], **vars(s)} for s in self.shapes]
        return {"coefficients": self.coefficients, "weights": self.weights, "shapes": shapes}

    @classmethod
    def from_data(cls, data: dict) -> FiniteNoise:
        """From what :meth:`as_data` gave."""
        shapes = [SHAPES[s["shape"]](**{k: v for k, v in s.items() if k != "shape"}) for s in data["shapes"]]
        return cls(np.array(data["coefficients"]), shapes, np.array(data["weights"]))  # type: ignore[arg-type]
