"""Transport in fractions, slowly: the value between exact bounds of square roots, and by enumeration.

Distances are roots of fractions; each is replaced by a fraction below and one above it, 10^-60 of itself apart.
Successive shortest paths on exact masses then give the exact minimum for either, and the truth lies between the two.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

DIGITS = 10**60


def root(square: Fraction) -> tuple[Fraction, Fraction]:
    """Fractions below and above a square root."""
    if not square:
        return Fraction(0), Fraction(0)
    shift = 1  # so that the whole root has about sixty digits
    size = square.numerator.bit_length() - square.denominator.bit_length()
    shift = Fraction(4) ** (size // 2)
    whole = math.isqrt((square / shift * DIGITS**2).__floor__())
    scale = Fraction(2) ** (size // 2)
    return Fraction(whole, DIGITS) * scale, Fraction(whole + 1, DIGITS) * scale


def masses(weights) -> list[Fraction]:
    """w_i / sum w, exactly."""
    exact = [Fraction(float(w)) for w in weights]
    return [w / sum(exact) for w in exact]


def least_cost(a: list[Fraction], b: list[Fraction], c: list[list[Fraction]]) -> Fraction:
    """min sum pi_ij c_ij over plans with marginals a and b: successive shortest paths (Bellman and Ford)."""
    a, b, m, n = a[:], b[:], len(a), len(b)
    flow = [[Fraction(0)] * n for _ in range(m)]
    while any(a):
        # nodes 0 .. m - 1 are rows, m .. m + n - 1 columns
        away: list[Fraction | None] = [Fraction(0) if a[i] else None for i in range(m)] + [None] * n
        before: list[int | None] = [None] * (m + n)
        changed = True
        while changed:
            changed = False
            for i in range(m):
                for j in range(n):
                    here, there = away[i], away[m + j]
                    if here is not None and (there is None or here + c[i][j] < there):
                        away[m + j], before[m + j], changed = here + c[i][j], i, True
                    here, there = away[m + j], away[i]
                    if flow[i][j] and here is not None and (there is None or here - c[i][j] < there):
                        away[i], before[i], changed = here - c[i][j], m + j, True
        j = min((j for j in range(n) if b[j]), key=lambda j: away[m + j])  # type: ignore[arg-type,return-value]
        path, node = [m + j], before[m + j]
        while node is not None:
            path.append(node)
            node = before[node]
        path.reverse()
        steps = list(itertools.pairwise(path))
        amount = min([a[path[0]], b[j], *(flow[t][s - m] for s, t in steps if s >= m)])
        for s, t in steps:
            if s < m:
                flow[s][t - m] += amount
            else:
                flow[t][s - m] -= amount
        a[path[0]] -= amount
        b[j] -= amount
    return sum((flow[i][j] * c[i][j] for i in range(m) for j in range(n)), Fraction(0))


def w1_between(x, y, p: list[Fraction], q: list[Fraction], prices=None) -> tuple[Fraction, Fraction]:
    """Exact bounds of W1 between masses p at points x and q at points y; `prices` is added to the distances."""
    ends = []
    squares = [
        [sum((Fraction(float(s)) - Fraction(float(t))) ** 2 for s, t in zip(u, v, strict=True)) for v in y] for u in x
    ]
    for end in (0, 1):
        c = [
            [root(s)[end] + (Fraction(0) if prices is None else prices[i][j]) for j, s in enumerate(row)]
            for i, row in enumerate(squares)
        ]
        ends.append(least_cost(p, q, c))
    return ends[0], ends[1]
