"""Loops over all pairs of points, and over few of them.

A block holds the squared distances of rows ``first, first + 1, ...``; distances are taken from it on the fly: a square
root in vector registers costs less than reading a second matrix. ``c_ij = scale sqrt(squared_ij) + kappa [labels
differ]``.
"""

from __future__ import annotations

import numpy as np

from ..kernels.jit import kernel, scalar
from ..kernels.vector_math import exp


@scalar
def cost(squared, scale, kappa, same):  # type: ignore[no-untyped-def]
    """One distance."""
    return scale * np.sqrt(np.float64(squared)) + (0.0 if same else kappa)


# --- entropic smoothing on a sample of the columns ---


@kernel
def soft_rows(block, first, scale, kappa, lx, ly, v, b, eps, u):  # type: ignore[no-untyped-def]
    """u_i = -eps log sum_j b_j exp((v_j - c_ij) / eps)."""
    n = block.shape[1]
    t = np.empty(n)
    for k in range(len(block)):
        row, label = block[k], lx[first + k]
        top = -np.inf
        for j in range(n):
            t[j] = v[j] - cost(row[j], scale, kappa, ly[j] == label)
            top = max(top, t[j])
        total = 0.0
        for j in range(n):
            t[j] = b[j] * exp((t[j] - top) / eps)
        for j in range(n):
            total += t[j]
        u[first + k] = -top - eps * np.log(total)


@kernel
def soft_columns(block, first, scale, kappa, lx, ly, u, v, a, eps, mass):  # type: ignore[no-untyped-def]
    """mass_j = sum_i a_i exp((u_i + v_j - c_ij) / eps): the share of its mass that column j of the entropic plan gets
    from these rows.
    """
    mass[:] = 0.0
    for k in range(len(block)):
        row, label, weight, dual = block[k], lx[first + k], a[first + k], u[first + k]
        for j in range(block.shape[1]):
            mass[j] += weight * exp((dual + v[j] - cost(row[j], scale, kappa, ly[j] == label)) / eps)


# --- c-transforms: dual feasible by construction ---


@kernel
def row_minima(block, first, scale, kappa, lx, ly, v, u):  # type: ignore[no-untyped-def]
    """u_i = min_j (c_ij - v_j)."""
    for k in range(len(block)):
        row, label = block[k], lx[first + k]
        low = np.inf
        for j in range(block.shape[1]):
            low = min(low, cost(row[j], scale, kappa, ly[j] == label) - v[j])
        u[first + k] = low


@kernel
def column_minima(block, first, scale, kappa, lx, ly, u, v):  # type: ignore[no-untyped-def]
    """v_j = min_i (c_ij - u_i) over these rows."""
    v[:] = np.inf
    for k in range(len(block)):
        row, label, dual = block[k], lx[first + k], u[first + k]
        for j in range(block.shape[1]):
            v[j] = min(v[j], cost(row[j], scale, kappa, ly[j] == label) - dual)


@kernel
def certified_minima(block, first, scale, kappa, lx, ly, x, y, nx, ny, kept, lost, near, v, u):  # type: ignore[no-untyped-def]
    """u_i = min_j (c_ij - v_j) for distances lowered by the bound of their own rounding, arc by arc: by the share
    ``1 - kept``; squared distances above ``near`` of the squared norms are products, and may have lost ``lost`` of
    those norms: where that decides, the distance is computed again by differences.
    """
    for k in range(len(block)):
        i = first + k
        row, label, norm = block[k], lx[i], nx[i]
        low = np.inf
        for j in range(block.shape[1]):
            squared, price = float(row[j]), (0.0 if ly[j] == label else kappa)
            loss = lost * (norm + ny[j])
            if loss > 0.0 and squared > near * (norm + ny[j]):
                if not kept * (scale * np.sqrt(max(squared - loss, 0.0)) + price) - v[j] < low:
                    continue
                squared = 0.0
                for feature in range(x.shape[1]):
                    d = x[i, feature] - y[j, feature]
                    squared += d * d
            low = min(low, kept * (scale * np.sqrt(squared) + price) - v[j])
        u[i] = low


# --- arcs with a small reduced cost c - u - v ---


@kernel
def count_below(block, first, scale, kappa, lx, ly, u, v, limit, counts):  # type: ignore[no-untyped-def]
    """How many arcs of each row have a reduced cost below `limit`."""
    for k in range(len(block)):
        row, label, dual = block[k], lx[first + k], u[first + k]
        count = 0
        for j in range(block.shape[1]):
            count += cost(row[j], scale, kappa, ly[j] == label) - dual - v[j] < limit
        counts[first + k] = count


@kernel
def arcs_below(block, first, scale, kappa, lx, ly, u, v, limit, starts, columns, costs):  # type: ignore[no-untyped-def]
    """Those arcs: columns and costs of row i from place starts[i] on."""
    for k in range(len(block)):
        row, label, dual = block[k], lx[first + k], u[first + k]
        place = starts[first + k]
        for j in range(block.shape[1]):
            c = cost(row[j], scale, kappa, ly[j] == label)
            if c - dual - v[j] < limit:
                columns[place] = j
                costs[place] = c
                place += 1


# --- Newton's method on few arcs, kept column by column ---


@kernel
def smooth_dual(starts, rows, costs, u, b, eps, share, mass):  # type: ignore[no-untyped-def]
    """sum_j b_j v_j for v_j = -eps log sum_i exp((u_i - c_ij) / eps); fills the shares of a column over its arcs, and
    the mass of each row.
    """
    mass[:] = 0.0
    total = 0.0
    for j in range(len(b)):
        top = -np.inf
        for k in range(starts[j], starts[j + 1]):
            share[k] = u[rows[k]] - costs[k]
            top = max(top, share[k])
        if top == -np.inf:
            continue
        part = 0.0
        for k in range(starts[j], starts[j + 1]):
            share[k] = exp((share[k] - top) / eps)
            part += share[k]
        for k in range(starts[j], starts[j + 1]):
            share[k] /= part
            mass[rows[k]] += b[j] * share[k]
        total -= b[j] * (top + eps * np.log(part))
    return total


@kernel
def curvature(starts, rows, share, b, mass, out):  # type: ignore[no-untyped-def]
    """-eps times the Hessian of :func:`smooth_dual` in u: diag(mass) - sum_j b_j share_j share_j'."""
    out[:, :] = 0.0
    for j in range(len(b)):
        for k in range(starts[j], starts[j + 1]):
            weight = b[j] * share[k]
            if share[k] < 1e-9:
                continue
            for other in range(starts[j], starts[j + 1]):
                out[rows[k], rows[other]] -= weight * share[other]
    for i in range(len(mass)):
        out[i, i] += mass[i]


@kernel
def best_arcs(starts, rows, costs, u, best, low, margin, third):  # type: ignore[no-untyped-def]
    """For each column: its arc with the least c - u, that value, and by how much the next and the third arc are
    worse.
    """
    for j in range(len(low)):
        one = two = three = np.inf
        best[j] = -1
        for k in range(starts[j], starts[j + 1]):
            r = costs[k] - u[rows[k]]
            if r < one:
                one, two, three = r, one, two
                best[j] = k
            elif r < two:
                two, three = r, two
            elif r < three:
                three = r
        low[j], margin[j], third[j] = one, two - one, three - one
