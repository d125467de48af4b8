"""A loss on rows, in 50 digits: gradient and Hessian of one datum, and of a user."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from ...memory import remembered
from ..real import ONE, ZERO, Real, dot, mean, minus, mp, norm, operator_norm, real, reals, times


class Row(NamedTuple):
    """One datum: features, label (None without labels) and probability within its user."""

    x: list[Real]
    y: Any  # a number, or None without labels
    weight: Real


Matrix = list[list[Real]]


def users_of(problem: Any) -> list[list[Row]]:
    """Rows of positive weight, user by user; weights divided by their sum, as the statements are read."""
    return remembered(problem, "rows of the referee", lambda: _users(problem.federation))


def _users(fed: Any) -> list[list[Row]]:
    scale, found = real(fed.scale), []
    for i in range(fed.n_users):
        rows = range(int(fed.offsets[i]), int(fed.offsets[i + 1]))
        total = mp.fsum(real(fed.weights[k]) for k in rows)
        found.append(
            [
                Row(
                    [scale * real(v) for v in fed.x[k]],
                    None if fed.y is None else real(fed.y[k]),
                    real(fed.weights[k]) / total,
                )
                for k in rows
                if fed.weights[k] > 0
            ]
        )
    return found


def name_of(loss: Any) -> str:
    """The loss as the formulas below name it."""
    kind = type(loss).__name__
    return f"{kind} {loss.kind}" if kind == "LogCosh" else kind


def reads_labels(loss: Any) -> bool:
    """Whether labels enter the loss."""
    return name_of(loss) in ("LeastSquares", "Logistic", "Softmax", "LogCosh regression")


def known(loss: Any) -> bool:
    """Whether the formulas below know the loss."""
    return name_of(loss) in ("Quadratic", "Cosine", "LogCosh location") or reads_labels(loss)


def matrix_of(loss: Any, user: int, dim: int) -> Matrix:
    """A of a quadratic user."""
    a = loss.A[user if len(loss.A) > 1 else 0]
    if a.shape == (1, 1):
        return [[real(a[0, 0]) if i == j else ZERO for j in range(dim)] for i in range(dim)]
    return [reals(row) for row in a]


def _sigmoid(u: Real) -> Real:
    return 1 / (1 + mp.exp(-u)) if u >= 0 else mp.exp(u) / (1 + mp.exp(u))


def _softmax(loss: Any, w: list[Real], x: list[Real]) -> list[Real]:
    p = len(x)
    logits = [dot(w[c * p : (c + 1) * p], x) for c in range(int(loss.n_classes))]
    top = max(logits)
    terms = [mp.exp(v - top) for v in logits]
    total = mp.fsum(terms)
    return [t / total for t in terms]


def gradient(loss: Any, user: int, w: list[Real], row: Row) -> list[Real]:
    """Of one datum's loss."""
    kind, x = name_of(loss), row.x
    if kind == "Quadratic":
        return times(matrix_of(loss, user, len(x)), minus(w, x))
    if kind == "Cosine":
        c = real(loss.c)
        return [c * mp.sin((a - b) / c) for a, b in zip(w, x, strict=True)]
    if kind == "LogCosh location":
        c = real(loss.c)
        return [c * mp.tanh((a - b) / c) for a, b in zip(w, x, strict=True)]
    assert row.y is not None
    if kind == "Softmax":
        p = _softmax(loss, w, x)
        wide = [(p[k] - (k == int(row.y))) * v for k in range(len(p)) for v in x]
        return [g + real(loss.l2) * a for g, a in zip(wide, w, strict=True)]
    u = dot(w, x)
    if kind == "LeastSquares":
        return [(u - row.y) * v for v in x]
    if kind == "LogCosh regression":
        c = real(loss.c)
        return [c * mp.tanh((u - row.y) / c) * v for v in x]
    slope = _sigmoid(u) - row.y
    l2, bend = real(loss.l2), real(loss.nonconvex)
    return [slope * v + l2 * a + bend * 2 * a / (1 + a * a) ** 2 for v, a in zip(x, w, strict=True)]


def hessian(loss: Any, user: int, w: list[Real], row: Row) -> Matrix:
    """Of one datum's loss."""
    kind, x, d = name_of(loss), row.x, len(w)
    if kind == "Quadratic":
        return matrix_of(loss, user, len(x))
    if kind in ("Cosine", "LogCosh location"):
        c = real(loss.c)
        curve = mp.cos if kind == "Cosine" else (lambda v: mp.sech(v) ** 2)
        return [[curve((w[i] - x[i]) / c) if i == j else ZERO for j in range(d)] for i in range(d)]
    if kind == "Softmax":
        p, width = _softmax(loss, w, x), len(x)
        return [
            [
                (p[i // width] * ((i // width == j // width) - p[j // width])) * x[i % width] * x[j % width]
                + (real(loss.l2) if i == j else 0)
                for j in range(d)
            ]
            for i in range(d)
        ]
    u = dot(w, x)
    assert row.y is not None
    if kind == "LeastSquares":
        bend = ONE
    elif kind == "LogCosh regression":
        bend = mp.sech((u - row.y) / real(loss.c)) ** 2
    else:
        s = _sigmoid(u)
        bend = s * _sigmoid(-u)
    full = [[bend * x[i] * x[j] for j in range(d)] for i in range(d)]
    if kind == "Logistic":
        for i in range(d):
            q = 1 + w[i] ** 2
            full[i][i] += real(loss.l2) + real(loss.nonconvex) * 2 * (1 - 3 * w[i] ** 2) / q**3
    return full


class User:
    """One user's f on rows."""

    def __init__(self, loss: Any, index: int, rows: list[Row]) -> None:
        self.loss, self.index, self.rows = loss, index, rows
        self.weights = [row.weight for row in rows]

    def first(self, w: list[Real]) -> list[Real]:
        """grad f(w)."""
        return mean([gradient(self.loss, self.index, w, row) for row in self.rows], self.weights)

    def second(self, w: list[Real]) -> Matrix:
        """Hess f(w)."""
        every = [hessian(self.loss, self.index, w, row) for row in self.rows]
        return [mean([h[i] for h in every], self.weights) for i in range(len(w))]

    def adapted(self, w: list[Real], alpha: Real) -> list[Real]:
        """w - alpha grad f(w)."""
        return minus(w, self.first(w), alpha)

    def meta_first(self, w: list[Real], alpha: Real) -> list[Real]:
        """grad F(w)."""
        g = self.first(self.adapted(w, alpha))
        return minus(g, times(self.second(w), g), alpha)


def user_functions(problem: Any) -> list[User]:
    """The users as functions."""
    return [User(problem.loss, i, rows) for i, rows in enumerate(users_of(problem))]


# -- constants ---------------------------------------------------------------------------------------------------------


def second_moment(rows: list[Row], power: int = 0) -> Matrix:
    """E ||x||^power x x^T."""
    shares = [row.weight * norm(row.x) ** power for row in rows]
    d = len(rows[0].x)
    return [
        [mp.fsum(s * r.x[i] * r.x[j] for s, r in zip(shares, rows, strict=True)) for j in range(d)] for i in range(d)
    ]


def moment(rows: list[Row], power: int) -> Real:
    """E ||x||^power."""
    return mp.fsum(row.weight * norm(row.x) ** power for row in rows)


def farthest(rows: list[Row]) -> Real:
    """max ||x||."""
    return max(norm(row.x) for row in rows)


Found = dict[str, "list[Real] | None"]  # one number a user; None: no finite value


def constants(problem: Any, ball: tuple[float, Any] | None) -> Found:
    """Those constants of the assumptions that have a formula; a name that is absent is not known here, a None says that
    there is no finite value. docs/theory/constants.md, sections 5.3 to 5.10.
    """
    loss, users, dim = problem.loss, users_of(problem), problem.dim
    kind = name_of(loss)
    centre = [ZERO] * dim if ball is None or ball[1] is None else reals(ball[1])
    radius = None if ball is None else real(ball[0])
    return _FORMULAS[kind](loss, users, dim, radius, centre)


def _quadratic(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    a = [matrix_of(loss, i, dim) for i in range(len(users))]
    size = [operator_norm(m) for m in a]
    none = [ZERO] * len(users)
    found: Found = {
        "L": size,
        "rho": none,
        "sigma_H": none,
        "L_datum": size,
        "lip_gradient_z": size,
        "lip_hessian_z": none,
    }
    middle = [mean([r.x for r in rows], [r.weight for r in rows]) for rows in users]
    found["sigma_G"] = [
        mp.sqrt(mp.fsum(r.weight * norm(times(a[i], minus(r.x, middle[i]))) ** 2 for r in rows))
        for i, rows in enumerate(users)
    ]
    if not any(size):
        found["B"] = found["B_datum"] = none
    elif radius is None:
        found["B"] = found["B_datum"] = None
    else:
        found["B"] = [norm(times(a[i], minus(centre, middle[i]))) + radius * size[i] for i in range(len(users))]
        found["B_datum"] = [
            max(norm(times(a[i], minus(centre, r.x))) for r in rows) + radius * size[i] for i, rows in enumerate(users)
        ]
    return found


def _least_squares(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    s = [second_moment(rows) for rows in users]
    top = [operator_norm(m) for m in s]
    far = max(farthest(rows) for rows in users)
    found: Found = {
        "L": top,
        "rho": [ZERO] * len(users),
        "L_datum": [farthest(rows) ** 2 for rows in users],
        "lip_hessian_z": [2 * far] * len(users),
    }
    if radius is None:
        return found | {"B": None, "B_datum": None, "sigma_G": None, "lip_gradient_z": None}
    off = [[dot(centre, r.x) - r.y for r in rows] for rows in users]
    at_centre = [
        mean([[o * v for v in r.x] for o, r in zip(off[i], rows, strict=True)], [r.weight for r in rows])
        for i, rows in enumerate(users)
    ]
    found["B"] = [norm(g) + radius * t for g, t in zip(at_centre, top, strict=True)]
    found["B_datum"] = [
        max(norm(r.x) * (abs(o) + radius * norm(r.x)) for o, r in zip(off[i], rows, strict=True))
        for i, rows in enumerate(users)
    ]
    return found


def _margin(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    """Logistic and log-cosh regression: sup |phi'|, |phi''|, |phi'''| times moments."""
    logistic = name_of(loss) == "Logistic"
    c = ONE if logistic else real(loss.c)
    bend = mp.mpf(1) / 4 if logistic else ONE
    turn = 1 / (6 * mp.sqrt(3)) if logistic else 4 / (3 * mp.sqrt(3) * c)
    found: Found = {
        "L": [bend * operator_norm(second_moment(rows)) for rows in users],
        "rho": [turn * operator_norm(second_moment(rows, 1)) for rows in users],
        "sigma_H": [bend * mp.sqrt(moment(rows, 4)) for rows in users],
        "B_datum": [c * farthest(rows) for rows in users],
        "L_datum": [bend * farthest(rows) ** 2 for rows in users],
    }
    if all(len(rows) <= 12 for rows in users):
        found["B"] = [c * _largest_sum(rows, logistic) for rows in users]
    if not logistic:
        found["sigma_G"] = [c * mp.sqrt(moment(rows, 2)) for rows in users]
        return found
    far = max(farthest(rows) for rows in users)
    l2, hump = real(loss.l2), real(loss.nonconvex)
    if dim == 1 and not l2 and not hump:
        found["lip_hessian_z"] = [far / 2] * len(users)
    elif radius is None:
        found["lip_hessian_z"] = None
    else:
        found["lip_hessian_z"] = [far * (mp.mpf(1) / 2 + (radius + norm(centre)) * far * turn)] * len(users)
    more = {
        "B": hump * mp.sqrt(dim) * 3 * mp.sqrt(3) / 8,
        "B_datum": hump * mp.sqrt(dim) * 3 * mp.sqrt(3) / 8,
        "L": 2 * hump + l2,
        "L_datum": 2 * hump + l2,
        "rho": hump * 6 * mp.cos(mp.pi / 10) ** 5,
    }
    return _with_l2(_plus(found, more), l2, radius, centre)


def _plus(found: Found, more: dict[str, Real]) -> Found:
    return {k: v if v is None else [u + more.get(k, ZERO) for u in v] for k, v in found.items()}


def _with_l2(found: Found, l2: Real, radius: Real | None, centre: list[Real]) -> Found:
    """B and B_datum under a penalty (l2/2) ||w||^2: on a ball only."""
    if l2 == 0:
        return found
    if radius is None:
        return found | {"B": None, "B_datum": None}
    return _plus(found, {name: l2 * (radius + norm(centre)) for name in ("B", "B_datum")})


def _largest_sum(rows: list[Row], logistic: bool) -> Real:
    """Largest norm of sum pi_j c_j x_j, c_j in {0, s_j} (logistic, s_j = 2 y_j - 1) or {-1, 1}."""
    best = ZERO
    for signs in itertools.product((0, 1) if logistic else (-1, 1), repeat=len(rows)):
        parts = [
            [s * r.weight * ((2 * r.y - 1) if logistic else 1) * v for v in r.x]
            for s, r in zip(signs, rows, strict=True)
        ]
        best = max(best, norm([mp.fsum(column) for column in zip(*parts, strict=True)]))
    return best


def _softmax_constants(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    cubic, classes, l2 = mp.sqrt(6) / 9, int(loss.n_classes), real(loss.l2)
    far = max(farthest(rows) for rows in users)
    found: Found = {
        "L": [operator_norm(second_moment(rows)) / 2 + l2 for rows in users],
        "rho": [cubic * operator_norm(second_moment(rows, 1)) for rows in users],
        "sigma_G": [mp.sqrt(2 * moment(rows, 2)) for rows in users],
        "sigma_H": [mp.sqrt(moment(rows, 4)) / 2 for rows in users],
        "B_datum": [mp.sqrt(2) * farthest(rows) for rows in users],
        "L_datum": [farthest(rows) ** 2 / 2 + l2 for rows in users],
        "lip_hessian_z": None if radius is None else [far + cubic * (radius + norm(centre)) * far**2] * len(users),
    }
    if all(classes ** len(rows) <= 243 for rows in users):
        found["B"] = [_largest_map(rows, classes) for rows in users]
    return _with_l2(found, l2, radius, centre)


def _largest_map(rows: list[Row], classes: int) -> Real:
    """Largest norm of E (e_k(j) - e_y(j)) x_j^T over maps k of rows to classes."""
    best, p = ZERO, len(rows[0].x)
    for chosen in itertools.product(range(classes), repeat=len(rows)):
        total = [ZERO] * (classes * p)
        for k, r in zip(chosen, rows, strict=True):
            for e in range(p):
                total[k * p + e] += r.weight * r.x[e]
                total[int(r.y) * p + e] -= r.weight * r.x[e]
        best = max(best, norm(total))
    return best


def _cosine(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    c, n = real(loss.c), len(users)
    size, var = [], []
    for rows in users:
        turns = [[mp.expj(v / c) for v in r.x] for r in rows]
        phi = [mp.fsum(r.weight * t[k] for r, t in zip(rows, turns, strict=True)) for k in range(dim)]
        size.append([abs(p) for p in phi])
        away = [[t[k] - phi[k] for k in range(dim)] for t in turns]
        var.append(
            [
                (
                    mp.fsum(r.weight * abs(a[k]) ** 2 for r, a in zip(rows, away, strict=True))
                    + abs(mp.fsum(r.weight * a[k] ** 2 for r, a in zip(rows, away, strict=True)))
                )
                / 2
                for k in range(dim)
            ]
        )
    found: Found = {
        "B": [c * norm(s) for s in size],
        "L": [max(s) for s in size],
        "rho": [max(s) / c for s in size],
        "sigma_G": [c * mp.sqrt(mp.fsum(v)) for v in var],
        "B_datum": [c * mp.sqrt(dim)] * n,
        "L_datum": [ONE] * n,
        "lip_gradient_z": [ONE] * n,
        "lip_hessian_z": [1 / c] * n,
    }
    return found | ({"sigma_H": [mp.sqrt(v[0]) for v in var]} if dim == 1 else {})


def _log_cosh(loss, users, dim, radius, centre) -> Found:  # type: ignore[no-untyped-def]
    c, n = real(loss.c), len(users)
    return {
        "B": [c * mp.sqrt(dim)] * n,
        "B_datum": [c * mp.sqrt(dim)] * n,
        "L_datum": [ONE] * n,
        "lip_gradient_z": [ONE] * n,
        "lip_hessian_z": [4 / (3 * mp.sqrt(3) * c)] * n,
    }


_FORMULAS = {
    "Quadratic": _quadratic,
    "LeastSquares": _least_squares,
    "Logistic": _margin,
    "LogCosh regression": _margin,
    "Softmax": _softmax_constants,
    "Cosine": _cosine,
    "LogCosh location": _log_cosh,
}
