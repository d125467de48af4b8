"""One stochastic meta-gradient, every batch written out, in 50 digits."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from ..real import ONE, ZERO, Real, mean, minus, mp, norm, real, times
from . import rows as on_rows
from .lines import Line, lines_of


class Datum(NamedTuple):
    """Gradient and Hessian of one datum's loss, as functions of w."""

    first: Any
    second: Any


class Data(NamedTuple):
    """A user's data and their probabilities."""

    every: list[Datum]
    weights: list[Real]


def shape_slope(shape: Any, w: Real) -> tuple[Real, Real]:
    """S'(w) and S''(w) of a shape of noise."""
    kind = type(shape).__name__
    if kind == "Flat":
        return ONE, ZERO
    if kind == "Sine":
        e, c = real(shape.eps), real(shape.center)
        return e * mp.sin((w - c) / e), mp.cos((w - c) / e)
    t = (w - real(shape.center)) / real(shape.radius)
    inside = max(1 - t * t, ZERO)
    return inside**3, -6 * t * inside**2 / real(shape.radius)


def _noisy(line: Line, coefficients: list[Real], shapes: Any) -> Datum:
    def first(w: list[Real]) -> list[Real]:
        return [
            line.first(w[0]) + mp.fsum(c * shape_slope(s, w[0])[0] for c, s in zip(coefficients, shapes, strict=True))
        ]

    def second(w: list[Real]) -> list[list[Real]]:
        return [
            [
                line.second(w[0])
                + mp.fsum(c * shape_slope(s, w[0])[1] for c, s in zip(coefficients, shapes, strict=True))
            ]
        ]

    return Datum(first, second)


def data_of(problem: Any) -> list[Data]:
    """The users' data one by one."""
    if problem.kind == "curves":
        noise = problem.family.noise
        found = []
        for line in lines_of(problem):
            if noise is None:
                found.append(Data([_noisy(line, [], [])], [ONE]))
                continue
            p = [real(v) for v in noise.weights]
            total = mp.fsum(p)
            every = [_noisy(line, [real(v) for v in c], noise.shapes) for c in noise.coefficients]
            found.append(Data(every, [v / total for v in p]))
        return found
    return [
        Data(
            [
                Datum(
                    lambda w, row=row, i=i: on_rows.gradient(problem.loss, i, w, row),
                    lambda w, row=row, i=i: on_rows.hessian(problem.loss, i, w, row),
                )
                for row in rows
            ],
            [row.weight for row in rows],
        )
        for i, rows in enumerate(on_rows.users_of(problem))
    ]


Batch = tuple[Real, list[tuple[int, Real]]]  # probability, and the share of every datum that is in it


def batches(size: int | None, weights: list[Real], *, replace: bool) -> list[Batch]:
    """All batches with their probabilities; no size takes the expectation itself.

    Examples
    --------
    >>> [(float(p), [(k, float(s)) for k, s in shares]) for p, shares in batches(2, [ONE / 2, ONE / 2], replace=True)]
    [(0.25, [(0, 1.0)]), (0.5, [(0, 0.5), (1, 0.5)]), (0.25, [(1, 1.0)])]
    """
    m = len(weights)
    if size is None:
        return [(ONE, list(enumerate(weights)))]
    if not replace:
        each = ONE / math.comb(m, size)
        return [(each, [(k, ONE / size) for k in chosen]) for chosen in itertools.combinations(range(m), size)]
    found = []
    for chosen in itertools.combinations_with_replacement(range(m), size):
        counts = {k: chosen.count(k) for k in chosen}
        ways = math.factorial(size) // math.prod(math.factorial(c) for c in counts.values())
        probability = ways * mp.fprod(weights[k] ** c for k, c in counts.items())
        found.append((probability, [(k, real(c) / size) for k, c in counts.items()]))
    return found


def _share(parts: list[Any], shares: list[tuple[int, Real]]) -> Any:
    return mean([parts[k] for k, _ in shares], [s for _, s in shares])


def bias_and_error(data: Data, w: list[Real], alpha: Real, sizes: Any) -> tuple[Real, Real]:
    """||E G~ - grad F|| and E||G~ - grad F||^2: sums over every triple of batches."""
    inner, outer, hessian = (
        batches(size, data.weights, replace=sizes.replace)
        for size in (sizes.batch_inner, sizes.batch_outer, sizes.batch_hessian)
    )
    at_w = [z.first(w) for z in data.every]
    bends = [z.second(w) for z in data.every]
    target = _meta_gradient(data, w, alpha, at_w, bends)
    off, square = [ZERO] * len(w), ZERO
    curved = [(p, [_share([h[i] for h in bends], s) for i in range(len(w))]) for p, s in hessian]
    for p, shares in inner:
        moved = minus(w, _share(at_w, shares), alpha)
        there = [z.first(moved) for z in data.every]
        for q, more in outer:
            v = _share(there, more)
            for r, h in curved:
                away = minus(minus(v, times(h, v), alpha), target)
                chance = p * q * r
                off = [a + chance * b for a, b in zip(off, away, strict=True)]
                square += chance * mp.fdot(away, away)
    return norm(off), square


def _meta_gradient(data: Data, w: list[Real], alpha: Real, at_w: Any, bends: Any) -> list[Real]:
    moved = minus(w, mean(at_w, data.weights), alpha)
    v = mean([z.first(moved) for z in data.every], data.weights)
    h = [mean([b[i] for b in bends], data.weights) for i in range(len(w))]
    return minus(v, times(h, v), alpha)


def factor(size: int | None, m: int, *, replace: bool) -> Real:
    """By how much the variance of a batch mean is smaller than that of one datum."""
    if size is None:
        return ZERO
    if replace:
        return ONE / size
    return real(m - size) / (size * (m - 1)) if m > 1 else ZERO


def outcomes(problem: Any, sizes: Any) -> int:
    """Triples of batches of all users."""
    total = 0
    for data in data_of(problem):
        m, triples = len(data.weights), 1
        for size in (sizes.batch_inner, sizes.batch_outer, sizes.batch_hessian):
            if size is not None:
                triples *= math.comb(m + size - 1, size) if sizes.replace else math.comb(m, size)
        total += triples
    return total


def can_be_drawn(problem: Any, sizes: Any) -> bool | None:
    """Whether the data allow these batches; None where weights are equal within rounding only."""
    if sizes.replace:
        return True
    names = ("batch_inner", "batch_outer", "batch_hessian", "batch")
    largest = max((s for s in (getattr(sizes, name, None) for name in names) if s is not None), default=0)
    if largest == 0:
        return True
    if problem.kind == "curves" and problem.family.noise is None:
        return largest == 1  # one datum, the function itself
    weights = [data.weights for data in data_of(problem)]
    if largest > min(map(len, weights)):
        return False
    away = max(abs(p * len(own) - 1) for own in weights for p in own)
    return True if away <= mp.mpf(2) ** -45 else None if away <= mp.mpf(10) ** -8 else False
