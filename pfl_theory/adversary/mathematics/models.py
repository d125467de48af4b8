"""Piecewise and quadratic users through one door, in 50 digits: value (up to a constant of the user's own), gradient,
Hessian.
"""

from __future__ import annotations

import itertools
from typing import Any

from ..real import ONE, ZERO, Real, dot, eigenvalues, mean, minus, mp, norm, operator_norm, real, reals, times
from . import rows as on_rows
from .lines import Line, lines_of


class Model:
    """One user."""

    def value(self, w: list[Real]) -> Real:
        """f(w)."""
        raise NotImplementedError

    def first(self, w: list[Real]) -> list[Real]:
        """grad f(w)."""
        raise NotImplementedError

    def product(self, w: list[Real], v: list[Real]) -> list[Real]:
        """Hess f(w) v."""
        raise NotImplementedError

    def scale(self, w: list[Real]) -> Real:
        """What values near w are rounded against."""
        raise NotImplementedError

    L: Real  # the largest |eigenvalue| of the Hessian
    m: Real  # how far the Hessian goes below 0


class OnLine(Model):
    """A piecewise user."""

    def __init__(self, line: Line) -> None:
        self.line, self.L = line, line.L
        self.m = max(ZERO, -min(line.h))

    def value(self, w: list[Real]) -> Real:
        return self.line.value(w[0])

    def first(self, w: list[Real]) -> list[Real]:
        return [self.line.first(w[0])]

    def product(self, w: list[Real], v: list[Real]) -> list[Real]:
        return [self.line.second(w[0]) * v[0]]

    def scale(self, w: list[Real]) -> Real:
        reach = abs(w[0]) + max(abs(x) for x in self.line.x)
        return max(abs(f) for f in self.line.f0) + (self.line.B + self.L * reach) * reach

    def least(self, low: Real, high: Real) -> Real:
        """min f on [low, high]: ends, nodes, and where f' crosses 0."""
        line = self.line
        places = [low, high, *(x for x in line.x if low < x < high)]
        for k, s in enumerate(line.slopes):
            for t in _zeros(s / 2, line.h[k], line.f1[k]):
                if 0 <= t <= line.x[k + 1] - line.x[k] and low < line.x[k] + t < high:
                    places.append(line.x[k] + t)
        return min(line.value(w) for w in places)


class OnRows(Model):
    """A quadratic user about the mean of its rows."""

    def __init__(self, user: Any, dim: int) -> None:
        self.a = on_rows.matrix_of(user.loss, user.index, dim)
        self.middle = mean([row.x for row in user.rows], user.weights)
        self.L = operator_norm(self.a)
        self.m = max(ZERO, -min(eigenvalues(self.a)))

    def value(self, w: list[Real]) -> Real:
        away = minus(w, self.middle)
        return dot(away, times(self.a, away)) / 2

    def first(self, w: list[Real]) -> list[Real]:
        return times(self.a, minus(w, self.middle))

    def product(self, w: list[Real], v: list[Real]) -> list[Real]:
        return times(self.a, v)

    def scale(self, w: list[Real]) -> Real:
        return self.L * (norm(w) + norm(self.middle)) ** 2

    def least(self, points: list[list[Real]]) -> Real:
        """min f over the convex hull of points, f convex or points on a line: the stationary point of every face."""
        best = min(self.value(p) for p in points)
        for size in range(2, len(points) + 1):
            for some in itertools.combinations(points, size):
                v = self._stationary(list(some))
                if v is not None:
                    best = min(best, self.value(v))
        return best

    def _stationary(self, some: list[list[Real]]) -> list[Real] | None:
        edges = [minus(p, some[0]) for p in some[1:]]
        bend = [[dot(e, times(self.a, f)) for f in edges] for e in edges]
        down = [-dot(e, self.first(some[0])) for e in edges]
        shares = solved(bend, down)
        if shares is None or min(shares) < 0 or mp.fsum(shares) > 1:
            return None
        return [w + mp.fsum(s * e[j] for s, e in zip(shares, edges, strict=True)) for j, w in enumerate(some[0])]


def solved(matrix: list[list[Real]], right: list[Real]) -> list[Real] | None:
    """matrix x = right; None where it is singular to 30 digits."""
    size = max((abs(v) for row in matrix for v in row), default=ZERO)
    if size == 0 or abs(mp.det(mp.matrix(matrix) / size)) < mp.mpf(10) ** -30:
        return None
    return list(mp.lu_solve(mp.matrix(matrix), mp.matrix(right)))


def _zeros(a: Real, b: Real, c: Real) -> list[Real]:
    """Roots of a t^2 + b t + c."""
    if a == 0:
        return [] if b == 0 else [-c / b]
    under = b * b - 4 * a * c
    if under < 0:
        return []
    q = -(b + (mp.sqrt(under) if b >= 0 else -mp.sqrt(under))) / 2
    return [q / a] + ([c / q] if q != 0 else [])


def models_of(problem: Any) -> list[Model] | None:
    """The users; None where they are neither piecewise nor quadratic."""
    if problem.kind == "curves":
        return [OnLine(line) for line in lines_of(problem)]
    if problem.kind == "rows" and on_rows.name_of(problem.loss) == "Quadratic":
        return [OnRows(user, problem.dim) for user in on_rows.user_functions(problem)]
    return None


def squared_radius(points: list[list[Real]]) -> Real:
    """R^2 of the smallest ball round points in at most three dimensions."""
    best = max(norm(minus(p, points[0])) ** 2 for p in points)
    for size in range(2, min(len(points), len(points[0]) + 1) + 1):
        for some in itertools.combinations(points, size):
            edges = [minus(p, some[0]) for p in some[1:]]
            shares = solved([[2 * dot(e, f) for f in edges] for e in edges], [dot(e, e) for e in edges])
            if shares is None:
                continue
            centre = [w + mp.fsum(s * e[j] for s, e in zip(shares, edges, strict=True)) for j, w in enumerate(some[0])]
            best = min(best, max(norm(minus(p, centre)) ** 2 for p in points))
    return best


__all__ = ["ONE", "Model", "OnLine", "OnRows", "models_of", "real", "reals", "solved", "squared_radius"]
