"""Users of one variable with a piecewise linear second derivative, in 50 digits."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

from ...memory import remembered
from ..real import ZERO, Real, average, mp, real, reals
from .polynomials import PLACES, largest, roots, through


class Line:
    """One user's f: f'' through (x_k, h_k), 0 outside; f' from its anchor; f = 0 at the first node."""

    dim = 1

    def __init__(self, curve: Any) -> None:
        self.x, self.h = reals(curve.x), reals(curve.h)
        self.slopes = [
            (h1 - h0) / (x1 - x0) for x0, x1, h0, h1 in zip(self.x, self.x[1:], self.h, self.h[1:], strict=False)
        ]
        self.f1 = [ZERO]
        for x0, x1, h0, h1 in zip(self.x, self.x[1:], self.h, self.h[1:], strict=False):
            self.f1.append(self.f1[-1] + (x1 - x0) * (h0 + h1) / 2)
        shift = real(curve.slope) - self.first(real(curve.anchor))
        self.f1 = [v + shift for v in self.f1]
        self.f0 = [ZERO]
        for k, s in enumerate(self.slopes):
            t = self.x[k + 1] - self.x[k]
            self.f0.append(self.f0[-1] + self.f1[k] * t + self.h[k] * t * t / 2 + s * t**3 / 6)

    def _at(self, w: Real) -> tuple[int, Real]:
        k = min(max(bisect.bisect_right(self.x, w) - 1, 0), len(self.x) - 2)
        return k, w - self.x[k]

    def outside(self, w: Real) -> bool:
        """Beyond the nodes."""
        return bool(w < self.x[0] or w > self.x[-1])

    def value(self, w: Real) -> Real:
        """f(w)."""
        if w < self.x[0]:
            return self.f0[0] + self.f1[0] * (w - self.x[0])
        if w > self.x[-1]:
            return self.f0[-1] + self.f1[-1] * (w - self.x[-1])
        k, t = self._at(w)
        return self.f0[k] + self.f1[k] * t + self.h[k] * t * t / 2 + self.slopes[k] * t**3 / 6

    def first(self, w: Real) -> Real:
        """f'(w)."""
        if w <= self.x[0]:
            return self.f1[0]
        if w >= self.x[-1]:
            return self.f1[-1]
        k, t = self._at(w)
        return self.f1[k] + self.h[k] * t + self.slopes[k] * t * t / 2

    def second(self, w: Real) -> Real:
        """f''(w)."""
        if self.outside(w):
            return ZERO
        k, t = self._at(w)
        return self.h[k] + self.slopes[k] * t

    def third(self, w: Real) -> Real:
        """f'''(w), from the right at a node."""
        return ZERO if self.outside(w) or w == self.x[-1] else self.slopes[self._at(w)[0]]

    @property
    def L(self) -> Real:  # noqa: N802 - the paper's symbol
        """sup |f''|."""
        return max(abs(h) for h in self.h)

    @property
    def rho(self) -> Real:
        """The Lipschitz constant of f''."""
        return max(abs(s) for s in self.slopes)

    @property
    def B(self) -> Real:  # noqa: N802 - the paper's symbol
        """sup |f'|: at nodes and where f'' crosses 0."""
        zeros = [
            self.x[k] - self.h[k] / s for k, s in enumerate(self.slopes) if s != 0 and self.h[k] * self.h[k + 1] < 0
        ]
        return max(abs(self.first(w)) for w in [*self.x, *zeros])

    # -- F ---

    def adapted(self, w: Real, alpha: Real) -> Real:
        """w - alpha f'(w)."""
        return w - alpha * self.first(w)

    def meta_value(self, w: Real, alpha: Real) -> Real:
        """F(w)."""
        return self.value(self.adapted(w, alpha))

    def meta_first(self, w: Real, alpha: Real) -> Real:
        """F'(w)."""
        return (1 - alpha * self.second(w)) * self.first(self.adapted(w, alpha))

    def meta_second(self, w: Real, alpha: Real) -> Real:
        """F''(w)."""
        there = self.adapted(w, alpha)
        return (1 - alpha * self.second(w)) ** 2 * self.second(there) - alpha * self.third(w) * self.first(there)

    def meta_cuts(self, alpha: Real) -> list[Real]:
        """Nodes, and points that adapt onto a node."""
        cuts = list(self.x)
        for node in self.x:
            for left in (node + alpha * self.f1[0], node + alpha * self.f1[-1]):
                if self.outside(left):
                    cuts.append(left)
            for k, s in enumerate(self.slopes):
                # t with x_k + t - alpha (f1 + h t + s t^2 / 2) = node
                width = self.x[k + 1] - self.x[k]
                a, b, c = -alpha * s / 2, 1 - alpha * self.h[k], self.x[k] - alpha * self.f1[k] - node
                cuts += [self.x[k] + t for t in _quadratic(a, b, c) if 0 <= t <= width]
        return sorted(set(cuts))

    def meta_smoothness(self, alpha: Real) -> Real:
        """sup |F''| over the line."""
        return largest(lambda w: self.meta_second(w, alpha), self.meta_cuts(alpha))


def _quadratic(a: Real, b: Real, c: Real) -> list[Real]:
    if a == 0:
        return [] if b == 0 else [-c / b]
    under = b * b - 4 * a * c
    if under < 0:
        return []
    root = mp.sqrt(under)
    q = -(b + (root if b >= 0 else -root)) / 2
    return [q / a] + ([c / q] if q != 0 else [])


def lines_of(problem: Any) -> list[Line]:
    """The users, kept on the problem."""
    return remembered(problem, "lines of the referee", lambda: [Line(c) for c in problem.family.curves])


def gamma(lines: Sequence[Line]) -> tuple[Real, Real]:
    """gamma_G and gamma_H over the whole line: the spread of f'' is convex between nodes, that of f' a quartic."""
    cuts = sorted({x for line in lines for x in line.x})

    def spread(values: list[Real]) -> Real:
        middle = average(values)
        return average([(v - middle) ** 2 for v in values])

    gamma_h = max(spread([line.second(w) for line in lines]) for w in cuts)
    gamma_g = largest(lambda w: spread([line.first(w) for line in lines]), cuts)
    return mp.sqrt(gamma_g), mp.sqrt(gamma_h)


def bounded_below(line: Line) -> bool | None:
    """Whether f is bounded below; None where a slope far away is 0 within rounding."""
    tiny = mp.mpf(2) ** -40 * line.B
    left, right = line.f1[0], line.f1[-1]
    if left > tiny or right < -tiny:
        return False
    return None if (0 < left <= tiny or -tiny <= right < 0) else True


def infimum(lines: Sequence[Line], alpha: Real) -> Real:
    """inf of the mean of the F_i, to some 50 digits: the least value at cuts and at roots of F' between them.

    Between cuts F'' is a polynomial of degree 4 at most: between its roots F' is monotone.
    """
    cuts = sorted({w for line in lines for w in line.meta_cuts(alpha)})

    def slope(w: Real) -> Real:
        return average([line.meta_first(w, alpha) for line in lines])

    def value(w: Real) -> Real:
        return average([line.meta_value(w, alpha) for line in lines])

    def bend(w: Real) -> Real:
        return average([line.meta_second(w, alpha) for line in lines])

    best = min(value(w) for w in cuts)
    for low, high in itertools.pairwise(cuts):
        middle, half = (low + high) / 2, (high - low) / 2
        turns = roots(through([bend(middle + half * real(p)) for p in PLACES]))
        grid = [low, *(middle + half * t for t in turns), high]
        best = min([best, *(value(w) for w in grid)])
        for a, b in itertools.pairwise(grid):
            if slope(a) < 0 < slope(b):
                for _ in range(120):
                    c = (a + b) / 2
                    a, b = (c, b) if slope(c) < 0 else (a, c)
                best = min(best, value((a + b) / 2))
    return best
