"""Functions of one variable with a piecewise linear second derivative, one per user: the witnesses of the lemmas.

Everything about them is exact: L = max |h_k|, rho = the largest slope, B = max |f'| over nodes and zeros of f'', and
the smoothness of F(w) = f(w - alpha f'(w)), whose second derivative is a polynomial of degree four between finitely
many breakpoints.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from ..errors import require
from ..rigour.rounding import UNIT
from .noise import FiniteNoise

# roundings between the running sums over nodes and one value of F'', roots of the cubic included
# (docs/theory/left-side.md#3-2)
OPERATIONS = 1024


@dataclass(frozen=True, eq=False)
class Curve:
    """One user's f: f'' piecewise linear through (x_k, h_k), zero outside, and f'(anchor) = slope.

    Attributes
    ----------
    x, h : ndarray, shape (k,)
        Nodes of f'', x increasing; h[0] = h[-1] = 0 so that f'' is Lipschitz on the whole line.
    anchor, slope : float
        One value of f'.
    """

    x: NDArray
    h: NDArray
    anchor: float = 0.0
    slope: float = 0.0

    def __post_init__(self) -> None:
        x, h = np.asarray(self.x, dtype=np.float64), np.asarray(self.h, dtype=np.float64)
        require(
            x.ndim == 1 and x.shape == h.shape and len(x) >= 2,
            f"Piecewise: nodes x {x.shape} and h {h.shape}; give two or more of each",
        )
        require(
            bool(np.isfinite(x).all() and np.isfinite(h).all() and np.isfinite(self.slope)),
            "Piecewise: nodes or slope contain NaN or infinity",
        )
        require(bool((np.diff(x) > 0).all()), "Piecewise: the nodes x must increase strictly")
        require(
            h[0] == 0 and h[-1] == 0,
            f"Piecewise: f'' is {h[0]:g} at the first node and {h[-1]:g} at the last; both must be 0 (add a node "
            "that comes down)",
        )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "h", h)
        # f' and f at the nodes, with f'(x_0) = 0 and f(x_0) = 0 for the moment
        step, jump = np.diff(x), np.diff(h)
        rise = np.concatenate([[0.0], np.cumsum(step * (h[:-1] + h[1:]) / 2)])
        object.__setattr__(self, "_gradient", rise)
        object.__setattr__(self, "_gradient", rise + (self.slope - self.gradient(np.array([self.anchor]))[0]))
        area = self._gradient[:-1] * step + h[:-1] * step**2 / 2 + jump * step**2 / 6  # type: ignore[attr-defined]
        object.__setattr__(self, "_value", np.concatenate([[0.0], np.cumsum(area)]))

    def _segment(self, w: NDArray) -> NDArray:
        return np.clip(np.searchsorted(self.x, w, side="right") - 1, 0, len(self.x) - 2)

    def _local(self, w: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Segment, distance into it, slope of f'' there, and how far w lies outside all nodes."""
        k = self._segment(w)
        inside = np.clip(w, self.x[0], self.x[-1])
        return k, inside - self.x[k], (self.h[k + 1] - self.h[k]) / (self.x[k + 1] - self.x[k]), w - inside

    def hessian(self, w: NDArray) -> NDArray:
        """f''(w)."""
        return np.interp(w, self.x, self.h, left=0.0, right=0.0)

    def gradient(self, w: NDArray) -> NDArray:
        """f'(w)."""
        k, t, s, _ = self._local(w)
        return self._gradient[k] + self.h[k] * t + s * t**2 / 2  # type: ignore[attr-defined]

    def value(self, w: NDArray) -> NDArray:
        """f(w), with f = 0 at the first node."""
        k, t, s, beyond = self._local(w)
        inner = self._value[k] + self._gradient[k] * t + self.h[k] * t**2 / 2 + s * t**3 / 6  # type: ignore[attr-defined]
        return np.asarray(inner + beyond * self.gradient(w))

    @property
    def curvature(self) -> float:
        """L."""
        return float(np.abs(self.h).max())

    @property
    def third(self) -> float:
        """rho."""
        return float(np.abs(np.diff(self.h) / np.diff(self.x)).max())

    @property
    def variation(self) -> float:
        """V: the integral of |f''| (at most; a segment that crosses zero counts with both heights)."""
        return float((np.diff(self.x) * (np.abs(self.h[:-1]) + np.abs(self.h[1:])) / 2).sum())

    @property
    def steepest(self) -> float:
        """B: |f'| peaks at nodes or where f'' changes sign."""
        crossing = self.h[:-1] * self.h[1:] < 0
        zeros = self.x[:-1][crossing] - self.h[:-1][crossing] * np.diff(self.x)[crossing] / np.diff(self.h)[crossing]
        return float(np.abs(self.gradient(np.concatenate([self.x, zeros]))).max())

    def meta_breakpoints(self, alpha: float) -> NDArray:
        """Where F'' may change its polynomial: nodes, and points that adapt onto a node."""
        points = list(self.x)
        g, h, s = self._gradient, self.h, np.diff(self.h) / np.diff(self.x)  # type: ignore[attr-defined]
        for target in self.x:
            points += [target + alpha * g[0], target + alpha * g[-1]]  # outside the nodes f' is constant
            for k in range(len(self.x) - 1):  # x_k + t - alpha (g + h t + s t^2/2) = target
                a, b, c = -alpha * s[k] / 2, 1 - alpha * h[k], self.x[k] - alpha * g[k] - target
                if a == 0:
                    roots = [-c / b] if b != 0 else []
                else:
                    under = b * b - 4 * a * c
                    if under < 0:
                        continue
                    q = -(b + np.copysign(np.sqrt(under), b)) / 2
                    roots = [q / a] + ([c / q] if q != 0 else [])
                points += [self.x[k] + t for t in roots if 0 <= t <= self.x[k + 1] - self.x[k]]
        return np.unique(points)

    def _f_polynomials(self, at: float, alpha: float) -> tuple[NDArray, NDArray, NDArray, float]:
        """Near `at`, in u = w - at: f''(w), then f''(w~) and f'(w~) as polynomials in u, and f'''(w)."""
        outside = not self.x[0] <= at <= self.x[-1]
        k, t, s, _ = (float(v[0]) for v in self._local(np.array([at])))
        k = int(k)
        slope = 0.0 if outside else s
        here = np.array([0.0 if outside else self.h[k] + s * t, slope])
        gradient = np.array([self.gradient(np.array([at]))[0], here[0], slope / 2])
        adapted = polynomial.polysub([at, 1.0], alpha * gradient)  # w~(u)
        there = float(adapted[0])
        if not self.x[0] <= there <= self.x[-1]:
            return here, np.array([0.0]), np.array([float(self.gradient(np.array([there]))[0])]), slope
        m = int(self._segment(np.array([there]))[0])
        sm = (self.h[m + 1] - self.h[m]) / (self.x[m + 1] - self.x[m])
        into = polynomial.polysub(adapted, [self.x[m]])
        second = polynomial.polyadd([self.h[m]], sm * into)
        slope_there = self._gradient[m]  # type: ignore[attr-defined]
        first: NDArray = polynomial.polyadd(
            polynomial.polyadd([slope_there], self.h[m] * into), sm / 2 * polynomial.polymul(into, into)
        )
        return here, second, first, slope

    def meta_smoothness(self, alpha: float) -> tuple[float, float]:
        """sup_w |F''(w)| over the whole line and a bound of its rounding error.

        F''(w) = (1 - alpha f''(w))^2 f''(w~) - alpha f'''(w) f'(w~), a polynomial of degree at most four between
        breakpoints.
        """
        cuts = self.meta_breakpoints(alpha)
        best = 0.0
        for low, high in itertools.pairwise(cuts):
            middle = (low + high) / 2
            here, second, first, slope = self._f_polynomials(middle, alpha)
            shrink = polynomial.polysub([1.0], alpha * here)
            curve = polynomial.polysub(
                polynomial.polymul(polynomial.polymul(shrink, shrink), second), alpha * slope * first
            )
            best = max(best, _largest_on_cell(curve, (high - low) / 2))
        top, rho = self.curvature, self.third
        steep = self.steepest + self.variation  # |f'| and what stands in its running sums
        reach = float(np.abs(cuts).max()) + alpha * steep  # |w| and |w~| at most
        moved = 1 + alpha * top  # its square is a product: a power of Python's floats is an error where it overflows
        # one rounding moves w~ by u * reach, and with it f''(w~) by rho u reach and f'(w~) by L u reach
        rounding = (
            (OPERATIONS + 8 * len(self.x))
            * UNIT
            * (moved * moved * (top + rho * reach) + alpha * rho * (steep + top * reach))
        )
        return best, rounding


def _largest_on_cell(curve: NDArray, half: float) -> float:
    """max |p(u)| over |u| <= half for a polynomial, coefficients from the lowest on.

    It is taken in t = u / half, where coefficients and roots are of the size of p itself, whatever the unit of w.
    """
    scaled = curve * half ** np.arange(len(curve))
    size = float(np.abs(scaled).max())
    derivative = polynomial.polyder(scaled / size) if size > 0 else np.zeros(1)
    # a coefficient that moves no value by a rounding of `size` only makes the roots wild
    while len(derivative) > 1 and abs(derivative[-1]) <= UNIT / 4:
        derivative = derivative[:-1]
    roots = polynomial.polyroots(derivative) if len(derivative) > 1 else np.zeros(0)
    inside = [float(r.real) for r in roots if abs(r.imag) <= 1e-6 and abs(r.real) < 1]
    return float(np.abs(polynomial.polyval(np.array([-1.0, 1.0, *inside]), scaled)).max())


@dataclass(frozen=True, eq=False)
class Piecewise:
    """One :class:`Curve` per user.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> family = pfl.Piecewise([Curve([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0])])  # Landau's extremal function
    >>> problem = pfl.Problem.from_curves(family)
    >>> [problem.constants()[name].max() for name in ("L", "rho", "B")]
    [1.0, 1.0, 0.5]
    """

    curves: Sequence[Curve]
    noise: FiniteNoise | None = None  # of one datum; every user draws its own data from this law

    def __post_init__(self) -> None:
        require(len(self.curves) > 0, "Piecewise: no users; give one Curve each")

    def meta_smoothness(self, alpha: float) -> tuple[NDArray, NDArray]:
        """Exact smoothness of every F_i and its rounding error."""
        found = [c.meta_smoothness(alpha) for c in self.curves]
        return np.array([f[0] for f in found]), np.array([f[1] for f in found])


def random_piecewise(rng: np.random.Generator, *, n_users: int = 2, nodes: int = 6) -> Piecewise:
    """Random users: a few nodes at random places, random heights of either sign, a random slope."""
    curves = []
    for _ in range(n_users):
        k = int(rng.integers(3, nodes + 3))
        x = np.cumsum(rng.exponential(1.0, k) + 0.02) - rng.exponential(2.0)
        h = rng.normal(size=k) * np.exp(rng.normal())
        h[0] = h[-1] = 0.0
        curves.append(Curve(x, h, float(x[k // 2]), float(rng.normal() * np.exp(rng.normal()))))
    return Piecewise(curves)
