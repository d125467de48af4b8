"""A fully connected network once more, row by row and from the formulas: no backpropagation.

z, its derivatives of first and second order in w and everything below are propagated forwards, each as an array over
all weights: D z_k = the layer's own rows + W_k D h_{k-1}, D^2 likewise. Slow, and of another kind than what it judges.
"""

from __future__ import annotations

import numpy as np


def elementwise(kind, a):
    """A function of one number with its first and second derivative (ELU at 0 from the left)."""
    return {
        "elu": lambda u: (u, 1.0, 0.0) if u > 0 else (a * np.expm1(u), a * np.exp(u), a * np.exp(u)),
        "softplus": lambda u: (np.logaddexp(0, u), logistic(u), logistic(u) * logistic(-u)),
        "tanh": lambda u: (np.tanh(u), sech_squared(u), -2 * np.tanh(u) * sech_squared(u)),
        "sigmoid": lambda u: (logistic(u), logistic(u) * logistic(-u), logistic(u) * logistic(-u) * -np.tanh(u / 2)),
        "linear": lambda u: (u, 1.0, 0.0),
    }[kind]


def sech_squared(u):
    return 1 / np.cosh(min(abs(u), 300.0)) ** 2


def logistic(u):
    return 1 / (1 + np.exp(-u)) if u >= 0 else np.exp(u) / (1 + np.exp(u))


class MLP:
    """factor * objective(g(network(x)), y)."""

    def __init__(self, loss):
        self.loss = loss

    def logits(self, w, x):
        """z of the last layer, its Jacobian (C, d) and Hessians (C, d, d)."""
        d, at = len(w), 0
        h, jacobian, hessians = x, np.zeros((len(x), d)), np.zeros((len(x), d, d))
        sizes = (len(x), *self.loss.hidden, self.loss.n_classes)
        phi = elementwise(self.loss.activation, self.loss.elu)
        for k in range(1, len(sizes)):
            i, o = sizes[k - 1], sizes[k]
            matrix, bias = w[at : at + o * i].reshape(o, i), w[at + o * i : at + o * i + o]
            z, first, second = np.empty(o), np.empty((o, d)), np.empty((o, d, d))
            for c in range(o):
                own = np.arange(at + c * i, at + (c + 1) * i)
                z[c] = matrix[c] @ h + bias[c]
                first[c] = matrix[c] @ jacobian
                first[c, own] += h
                first[c, at + o * i + c] += 1
                second[c] = np.tensordot(matrix[c], hessians, 1)
                second[c][own, :] += jacobian
                second[c][:, own] += jacobian.T
            at += o * (i + 1)
            if k < len(sizes) - 1:
                z, first, second = self.through(phi, z, first, second)
            h, jacobian, hessians = z, first, second
        return h, jacobian, hessians

    @staticmethod
    def through(phi, z, first, second):
        found = [phi(u) for u in z]
        h = np.array([f[0] for f in found])
        jacobian = np.array([f[1] * row for f, row in zip(found, first, strict=True)])
        hessians = np.array(
            [f[1] * bend + f[2] * np.outer(row, row) for f, row, bend in zip(found, first, second, strict=True)]
        )
        return h, jacobian, hessians

    def of_logits(self, z, y):
        """l, dl/dz and its Hessian, from the formulas."""
        eye, classes = np.eye(len(z)), len(z)
        kind, output = self.loss.objective, self.loss.output
        if kind == "sigmoid-cross-entropy":
            s = np.array([logistic(u) for u in z])
            value = sum(np.logaddexp(0, -u if c == y else u) for c, u in enumerate(z))
            return value, s - eye[y], np.diag([logistic(u) * logistic(-u) for u in z])
        if kind == "cross-entropy" and output in ("linear", "softmax"):
            return self.cross_entropy(z, y)
        if output == "softmax":
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            jacobian = np.diag(p) - np.outer(p, p)
            bends = np.zeros((classes, classes, classes))  # of p_c in z
            for c in range(classes):
                for a in range(classes):
                    for b in range(classes):
                        bends[c, a, b] = p[c] * ((eye[c, a] - p[a]) * (eye[c, b] - p[b]) - p[a] * (eye[a, b] - p[b]))
            o, slopes = p, jacobian
        else:
            found = [elementwise(output, self.loss.elu)(u) for u in z]
            o, slopes = np.array([f[0] for f in found]), np.diag([f[1] for f in found])
            bends = np.zeros((classes, classes, classes))
            for c in range(classes):
                bends[c, c, c] = found[c][2]
        if kind == "squared":
            value, slope, bend = ((o - eye[y]) ** 2).sum(), 2 * (o - eye[y]), 2 * eye
        else:
            value, slope, bend = self.cross_entropy(o, y)
        return value, slopes.T @ slope, slopes.T @ bend @ slopes + np.tensordot(slope, bends, 1)

    @staticmethod
    def cross_entropy(z, y):
        top = z.max()
        p = np.exp(z - top) / np.exp(z - top).sum()
        return top + np.log(np.exp(z - top).sum()) - z[y], p - np.eye(len(z))[y], np.diag(p) - np.outer(p, p)

    def rows(self, w, x, y, weights):
        """Value, gradient, Hessian of every row, times its weight."""
        for row, label, weight in zip(x, y, weights, strict=True):
            z, jacobian, hessians = self.logits(w, row)
            value, slope, bend = self.of_logits(z, int(label))
            share = weight * self.loss.factor
            yield (
                share * value,
                share * jacobian.T @ slope,
                share * (jacobian.T @ bend @ jacobian + np.tensordot(slope, hessians, 1)),
            )

    def value(self, w, user, x, y, weights):
        return sum(found[0] for found in self.rows(w, x, y, weights))

    def gradient(self, w, user, x, y, weights):
        return sum(found[1] for found in self.rows(w, x, y, weights))

    def hessian(self, w, user, x, y, weights):
        return sum(found[2] for found in self.rows(w, x, y, weights))

    def hvp(self, w, user, x, y, weights, v):
        return self.hessian(w, user, x, y, weights) @ v

    def accuracy(self, w, user, x, y, weights):
        return weights @ [np.argmax(self.logits(w, row)[0]) == label for row, label in zip(x, y, strict=True)]
