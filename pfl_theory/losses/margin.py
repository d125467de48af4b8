"""Losses of one margin, l(w; x, y) = phi(<w, x>, y) + penalty(w): their kernels, written once for all of them."""

from __future__ import annotations

from typing import Any

from ..kernels.jit import helper, scalar
from ..kernels.simd import WIDTH, four_dots, weighted_rows
from ..kernels.vector_math import exp, fma
from .dispatch import add_penalty_gradient, add_penalty_hessian, add_penalty_hvp, d2phi, dphi, implements, penalty, phi


@helper
def dot(x, row, w):  # type: ignore[no-untyped-def]
    """<x[row], w> with eight running sums: without reassociation one sum would wait for itself at every term."""
    d = w.shape[0]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    j = 0
    while j + 8 <= d:
        s0 += x[row, j] * w[j]
        s1 += x[row, j + 1] * w[j + 1]
        s2 += x[row, j + 2] * w[j + 2]
        s3 += x[row, j + 3] * w[j + 3]
        s4 += x[row, j + 4] * w[j + 4]
        s5 += x[row, j + 5] * w[j + 5]
        s6 += x[row, j + 6] * w[j + 6]
        s7 += x[row, j + 7] * w[j + 7]
        j += 8
    while j < d:
        s0 += x[row, j] * w[j]
        j += 1
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@helper
def add_row(x, row, factor, out):  # type: ignore[no-untyped-def]
    """out += factor * x[row]."""
    for j in range(out.shape[0]):
        out[j] += factor * x[row, j]


@helper
def margins(flat, lo, m, d, scale, w, out):  # type: ignore[no-untyped-def]
    """out[k] = scale * <row lo + k, w> for k < m; `flat` holds rows of d numbers one after the other."""
    fours = m // 4 if d >= WIDTH else 0
    for q in range(fours):
        s0, s1, s2, s3 = four_dots(flat, (lo + 4 * q) * d, d, w, d)
        out[4 * q], out[4 * q + 1], out[4 * q + 2], out[4 * q + 3] = scale * s0, scale * s1, scale * s2, scale * s3
    for k in range(4 * fours, m):
        at, total = (lo + k) * d, 0.0
        for j in range(d):
            total = fma(flat[at + j], w[j], total)
        out[k] = scale * total


@helper
def add_span(flat, lo, m, scale, s, c, origin, part, out):  # type: ignore[no-untyped-def]
    """out += s * origin + scale * sum_k c[k] row lo + k; `part` (d,) is scratch."""
    d = out.shape[0]
    weighted_rows(flat, lo * d, d, m, c, part, d)
    for j in range(d):
        out[j] += fma(s, origin[j], scale * part[j])


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    total = penalty(loss, w)
    for k in range(len(rows)):
        total += coef[k] * phi(loss, scale * dot(x, rows[k], w), y[rows[k]])
    return total


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        r = rows[k]
        add_row(x, r, coef[k] * scale * dphi(loss, scale * dot(x, r, w), y[r]), out)
    add_penalty_gradient(loss, w, out)


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    out[:] = 0.0
    for k in range(len(rows)):
        r = rows[k]
        add_row(x, r, coef[k] * scale * scale * d2phi(loss, scale * dot(x, r, w), y[r]) * dot(x, r, v), out)
    add_penalty_hvp(loss, w, v, out)


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    out[:, :] = 0.0
    for k in range(len(rows)):
        r = rows[k]
        curvature = coef[k] * scale * scale * d2phi(loss, scale * dot(x, r, w), y[r])
        for a in range(w.shape[0]):
            for b in range(w.shape[0]):
                out[a, b] += curvature * x[r, a] * x[r, b]
    add_penalty_hessian(loss, w, out)


def correct(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    """Share of rows with the sign of the margin right (labels 0 and 1; a zero margin counts as class 0)."""
    total = 0.0
    for k in range(len(rows)):
        predicted = 1.0 if dot(x, rows[k], w) > 0.0 else 0.0
        if predicted == y[rows[k]]:
            total += coef[k]
    return total


def implements_margin(parameters, *, classifies=False, **operations):  # type: ignore[no-untyped-def]
    """Register a margin loss: `operations` are phi, dphi, d2phi and, if any, the penalty's."""
    rows: dict[str, Any] = {"value": value, "gradient": gradient, "hvp": hvp, "hessian": hessian}
    if classifies:
        rows["correct"] = correct
    implements(parameters, **rows, **operations)


@scalar
def sigmoid(u):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-u) without overflow or branches."""
    e = exp(-abs(u))
    return (1.0 if u >= 0.0 else e) * (1.0 / (1.0 + e))
