"""Losses of one margin, l(w; x, y) = phi(<w, x>, y) + penalty(w): their kernels, written once for all of them."""

from __future__ import annotations

from .._jit import helper
from .._vector_math import exp
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
def margins(x, lo, m, scale, w, out):  # type: ignore[no-untyped-def]
    """out[k] = scale * <x[lo + k], w> for k < m."""
    for k in range(m):
        out[k] = scale * dot(x, lo + k, w)


@helper
def add_span(x, lo, m, scale, s, c, origin, out):  # type: ignore[no-untyped-def]
    """out += s * origin + scale * sum_k c[k] x[lo + k], four rows at a time."""
    d = out.shape[0]
    for j in range(d):
        out[j] += s * origin[j]
    k = 0
    while k + 4 <= m:
        a0, a1, a2, a3 = scale * c[k], scale * c[k + 1], scale * c[k + 2], scale * c[k + 3]
        for j in range(d):
            out[j] += (a0 * x[lo + k, j] + a1 * x[lo + k + 1, j]) + (a2 * x[lo + k + 2, j] + a3 * x[lo + k + 3, j])
        k += 4
    while k < m:
        add_row(x, lo + k, scale * c[k], out)
        k += 1


@helper
def symmetric_product(gram, m, v, out):  # type: ignore[no-untyped-def]
    """out = G v for a symmetric m x m matrix stored flat: rows are added, not dotted, so the loop runs in vector registers."""
    for k in range(m):
        out[k] = 0.0
    j = 0
    while j + 4 <= m:
        r0, r1, r2, r3 = j * m, (j + 1) * m, (j + 2) * m, (j + 3) * m
        v0, v1, v2, v3 = v[j], v[j + 1], v[j + 2], v[j + 3]
        for k in range(m):
            out[k] += (v0 * gram[r0 + k] + v1 * gram[r1 + k]) + (v2 * gram[r2 + k] + v3 * gram[r3 + k])
        j += 4
    while j < m:
        for k in range(m):
            out[k] += v[j] * gram[j * m + k]
        j += 1


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


def implements_margin(record, *, classifies=False, **operations):  # type: ignore[no-untyped-def]
    """Register a margin loss: `operations` are phi, dphi, d2phi and, if any, the penalty's."""
    rows = {"value": value, "gradient": gradient, "hvp": hvp, "hessian": hessian}
    if classifies:
        rows["correct"] = correct
    implements(record, **rows, **operations)


@helper
def sigmoid(u):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-u) without overflow or branches."""
    e = exp(-abs(u))
    return (1.0 if u >= 0.0 else e) / (1.0 + e)
