"""Every loss once more in plain NumPy, from the formulas: all rows at once, one user at a time.

A twin has value, gradient, hvp, hessian and, for classes, accuracy; each takes a point w (d,), the number of the user,
its rows x (m, p) as real features, its labels y (m,) and the weight of each row.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logsumexp, softmax

from .mlp import MLP


class Quadratic:
    """(1/2)(w - z)^T A (w - z), A a matrix a user."""

    def __init__(self, loss):
        self.matrices = np.atleast_3d(loss.A) if np.ndim(loss.A) != 3 else loss.A

    def matrix(self, w, user):
        a = self.matrices[user if len(self.matrices) > 1 else 0]
        return float(a[0, 0]) * np.eye(len(w)) if a.shape == (1, 1) else a

    def value(self, w, user, x, y, weights):
        away = w - x
        return weights @ np.einsum("ki,ij,kj->k", away, self.matrix(w, user), away) / 2

    def gradient(self, w, user, x, y, weights):
        return weights @ ((w - x) @ self.matrix(w, user).T)

    def hessian(self, w, user, x, y, weights):
        return weights.sum() * self.matrix(w, user)

    def hvp(self, w, user, x, y, weights, v):
        return self.hessian(w, user, x, y, weights) @ v


class Margin:
    """phi(<w, x>, y) + penalty(w)."""

    def penalty(self, w):
        """Its value, gradient, and diagonal of the Hessian."""
        return 0.0, np.zeros_like(w), np.zeros_like(w)

    def value(self, w, user, x, y, weights):
        return weights @ self.phi(x @ w, y) + self.penalty(w)[0]

    def gradient(self, w, user, x, y, weights):
        return x.T @ (weights * self.dphi(x @ w, y)) + self.penalty(w)[1]

    def hessian(self, w, user, x, y, weights):
        return (x.T * (weights * self.d2phi(x @ w, y))) @ x + np.diag(self.penalty(w)[2])

    def hvp(self, w, user, x, y, weights, v):
        return x.T @ (weights * self.d2phi(x @ w, y) * (x @ v)) + self.penalty(w)[2] * v


class LeastSquares(Margin):
    """(1/2)(<w, x> - y)^2."""

    def __init__(self, loss):
        pass

    def phi(self, u, y):
        return (u - y) ** 2 / 2

    def dphi(self, u, y):
        return u - y

    def d2phi(self, u, y):
        return np.ones_like(u)


class Logistic(Margin):
    """log(1 + e^u) - y u with the l2 and the nonconvex term."""

    def __init__(self, loss):
        self.l2, self.nonconvex = loss.l2, loss.nonconvex

    def phi(self, u, y):
        return np.logaddexp(0.0, u) - y * u

    def dphi(self, u, y):
        return expit(u) - y

    def d2phi(self, u, y):
        return expit(u) * expit(-u)

    def penalty(self, w):
        q = 1 + w**2
        value = self.l2 * (w @ w) / 2 + self.nonconvex * np.sum(w**2 / q)
        return value, self.l2 * w + self.nonconvex * 2 * w / q**2, self.l2 + self.nonconvex * 2 * (1 - 3 * w**2) / q**3

    def accuracy(self, w, user, x, y, weights):
        return weights @ ((x @ w > 0) == (y == 1))


class LogCoshRegression(Margin):
    """c^2 log cosh((<w, x> - y) / c)."""

    def __init__(self, loss):
        self.c = loss.c

    def phi(self, u, y):
        t = (u - y) / self.c
        return self.c**2 * (np.logaddexp(t, -t) - np.log(2))

    def dphi(self, u, y):
        return self.c * np.tanh((u - y) / self.c)

    def d2phi(self, u, y):
        return 1 / np.cosh((u - y) / self.c) ** 2


class LogCoshLocation:
    """sum_k c^2 log cosh((w_k - z_k) / c)."""

    def __init__(self, loss):
        self.c = loss.c

    def value(self, w, user, x, y, weights):
        t = (w - x) / self.c
        return self.c**2 * (weights @ (np.logaddexp(t, -t) - np.log(2)).sum(1))

    def gradient(self, w, user, x, y, weights):
        return self.c * (weights @ np.tanh((w - x) / self.c))

    def hessian(self, w, user, x, y, weights):
        return np.diag(weights @ (1 / np.cosh((w - x) / self.c) ** 2))

    def hvp(self, w, user, x, y, weights, v):
        return np.diag(self.hessian(w, user, x, y, weights)) * v


class Cosine:
    """sum_k c^2 (1 - cos((w_k - z_k) / c))."""

    def __init__(self, loss):
        self.c = loss.c

    def value(self, w, user, x, y, weights):
        return self.c**2 * (weights @ (1 - np.cos((w - x) / self.c)).sum(1))

    def gradient(self, w, user, x, y, weights):
        return self.c * (weights @ np.sin((w - x) / self.c))

    def hessian(self, w, user, x, y, weights):
        return np.diag(weights @ np.cos((w - x) / self.c))

    def hvp(self, w, user, x, y, weights, v):
        return np.diag(self.hessian(w, user, x, y, weights)) * v


class Softmax:
    """lse(W x) - (W x)_y + (l2/2)||W||^2."""

    def __init__(self, loss):
        self.n_classes, self.l2 = loss.n_classes, loss.l2

    def logits(self, w, x):
        return x @ w.reshape(self.n_classes, -1).T

    def value(self, w, user, x, y, weights):
        z = self.logits(w, x)
        return weights @ (logsumexp(z, axis=1) - z[np.arange(len(y)), y]) + self.l2 * (w @ w) / 2

    def gradient(self, w, user, x, y, weights):
        residual = softmax(self.logits(w, x), axis=1) - np.eye(self.n_classes)[y]
        return np.einsum("k,kc,kj->cj", weights, residual, x).ravel() + self.l2 * w

    def hessian(self, w, user, x, y, weights):
        p = softmax(self.logits(w, x), axis=1)
        middle = np.einsum("kc,ce->kce", p, np.eye(self.n_classes)) - np.einsum("kc,ke->kce", p, p)
        return np.einsum("k,kce,ki,kj->ciej", weights, middle, x, x).reshape(len(w), len(w)) + self.l2 * np.eye(len(w))

    def hvp(self, w, user, x, y, weights, v):
        return self.hessian(w, user, x, y, weights) @ v

    def accuracy(self, w, user, x, y, weights):
        return weights @ (np.argmax(self.logits(w, x), axis=1) == y)


def twin_of(loss):
    """The twin of a loss of the library; None for a loss that has none here."""
    name = type(loss).__name__
    if name == "LogCosh":
        name += loss.kind.capitalize()
    losses = (Cosine, Quadratic, LeastSquares, Logistic, LogCoshLocation, LogCoshRegression, Softmax, MLP)
    kinds = {c.__name__: c for c in losses}
    return kinds[name](loss) if name in kinds else None


def users_of(fed):
    """x (real features), y and weights of every user of a federation."""
    cut = [slice(a, b) for a, b in zip(fed.offsets[:-1], fed.offsets[1:], strict=True)]
    return [(fed.x[s].astype(float) * fed.scale, None if fed.y is None else fed.y[s], fed.weights[s]) for s in cut]


def over_users(twin, operation, fed, w, *more):
    """One operation of a twin for every user, stacked; w (d,) or a point a user."""
    points = np.broadcast_to(w, (fed.n_users, np.shape(w)[-1]))
    more = [np.broadcast_to(v, points.shape) for v in more]
    return np.array(
        [getattr(twin, operation)(points[i], i, *user, *(v[i] for v in more)) for i, user in enumerate(users_of(fed))]
    )
