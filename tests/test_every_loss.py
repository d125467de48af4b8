"""What every loss promises. A new file in pfl_theory/losses is tested here without a line being added, if its class can
be made without arguments.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference.losses import over_users, twin_of
from scipy.optimize import minimize

import pfl_theory.losses as package
from pfl_theory import Federation, Problem
from pfl_theory.federations import concept_shift
from pfl_theory.losses import Loss

SYMMETRIC = [[2.0, 0.3, 0.0], [0.3, -1.0, 0.5], [0.0, 0.5, 0.7]]
# Hyperparameters worth a test besides the defaults (and instead of them, where a class has none).
MORE = {
    "Cosine": [{"c": 0.6}],
    "Quadratic": [{"A": SYMMETRIC}, {"A": [SYMMETRIC, np.eye(3), np.diag([3.0, 1.0, 0.0])]}],
    "Logistic": [{"nonconvex": 0.4}, {"l2": 0.3, "nonconvex": 0.2}],
    "LogCosh": [{"c": 0.6}, {"kind": "regression", "c": 1.7}],
    "Softmax": [{"n_classes": 3, "l2": 0.1}, {"n_classes": 2}],
    # smooth ones, as differences across a kink of ELU are no derivatives; all others: tests/test_mlp.py
    "MLP": [
        {"n_classes": 2, "hidden": (), "objective": "sigmoid-cross-entropy"},
        {"n_classes": 2, "hidden": (2, 2), "activation": "softplus", "factor": 0.5},
        {"n_classes": 2, "hidden": (2,), "activation": "tanh", "objective": "squared"},
    ],
}


def instances() -> list:
    """(name, loss) of every class of the package."""
    found = []
    for name in package.__all__:
        cls = getattr(package, name)
        if cls is Loss:
            continue
        choices = MORE.get(name, [])
        if not any(
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            for f in dataclasses.fields(cls)
        ):
            choices = [{}, *choices]
        assert choices, (
            f"{name} has no defaults: give its fields defaults, or add example arguments to MORE in {__file__}"
        )
        found += [
            pytest.param(cls(**given), id=name + "".join(f"-{k}{np.shape(v) or f'={v}'}" for k, v in given.items()))
            for given in choices
        ]
    return found


def federation(loss: Loss, kind: str = "float", seed: int = 4) -> Federation:
    """Three users of 5, 2 and 9 rows with 3 features, own weights (one of them 0); labels 0 and 1, or real targets."""
    rng = np.random.default_rng(seed)
    sizes = (5, 2, 9)
    x = [
        rng.integers(0, 256, (m, 3), dtype=np.uint8) if kind == "uint8" else rng.normal(size=(m, 3)) * [1.0, 2.0, 0.5]
        for m in sizes
    ]
    y = [rng.integers(0, 2, m) if loss.classifies else rng.normal(size=m) for m in sizes]
    weights = [rng.dirichlet(np.ones(m)) for m in sizes]
    weights[0] = np.array([0.4, 0.0, 0.3, 0.2, 0.1])
    return Federation.from_arrays(x, y, sample_weight=weights, scale=1 / 255 if kind == "uint8" else 1.0)


def close(a, b, tolerance=1e-12):
    return np.abs(np.asarray(a) - b).max() <= tolerance * np.abs(b).max()


every_loss = pytest.mark.parametrize("loss", instances())
SCALES = (0.0, 0.3, 3.0, 40.0)


def agrees(problem, scale, a, b):
    """To 1e-12 of the largest entry; at the largest points, where curvature is a small difference of large terms, of an
    entry at w = 0.
    """
    size = np.abs(b).max() if scale < 10 else max(np.abs(b).max(), np.abs(problem.hessian(np.zeros(problem.dim))).max())
    return np.abs(a - b).max() <= 1e-12 * size


@pytest.fixture
def problem(loss):
    return Problem(loss, federation(loss))


def points(problem, rng, scale):
    return scale * rng.normal(size=(problem.n_users, problem.dim))


# -- kernels -----------------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_kernels_equal_the_twin(loss, kind, rng):
    twin = twin_of(loss)
    if twin is None:
        pytest.skip("no twin in tests/reference: derivatives are checked against differences only")
    fed = federation(loss, kind)
    problem = Problem(loss, fed)
    for scale in SCALES:
        w, v = points(problem, rng, scale), points(problem, rng, 1.0)
        assert close(problem.value(w), over_users(twin, "value", fed, w))
        assert close(problem.gradient(w), over_users(twin, "gradient", fed, w))
        if kind == "float":
            assert agrees(problem, scale, problem.hvp(w, v), over_users(twin, "hvp", fed, w, v))
            assert agrees(problem, scale, problem.hessian(w), over_users(twin, "hessian", fed, w))
            if loss.classifies:
                assert close(problem.accuracy(w), over_users(twin, "accuracy", fed, w))


@every_loss
def test_hvp_is_the_hessian_times_v(problem, rng):
    for scale in SCALES:
        w, v = points(problem, rng, scale), points(problem, rng, 1.0)
        h = problem.hessian(w)
        assert close(h, h.transpose(0, 2, 1), 1e-15)
        assert agrees(problem, scale, problem.hvp(w, v), np.einsum("nij,nj->ni", h, v))


@pytest.mark.parametrize("kind", ["location", "regression"])
def test_saturated_log_cosh_keeps_the_digits_of_its_curvature(kind):
    problem = Problem(package.LogCosh(kind), Federation.from_arrays([[[1.0]]], [[0.0]]))
    w = [11.0] if kind == "location" else [10.0]
    assert problem.hvp(w, [1.0])[0, 0] == pytest.approx(1 / np.cosh(10.0) ** 2, rel=1e-12, abs=0)


def differences(function, w, h=2e-3):
    """Fourth-order central differences of a function (n, d) -> (n, ...) along every coordinate, last axis."""
    columns = []
    for e in np.eye(w.shape[1]) * h:
        columns.append(
            (8 * (function(w + e) - function(w - e)) - (function(w + 2 * e) - function(w - 2 * e))) / (12 * h)
        )
    return np.stack(columns, axis=-1)


@every_loss
def test_derivatives_against_differences(problem, rng):
    for scale in (0.3, 1.0, 2.0):
        w = points(problem, rng, scale)
        assert close(problem.gradient(w), differences(problem.value, w), 1e-8)
        assert close(problem.hessian(w), differences(problem.gradient, w), 1e-8)


@every_loss
@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.3, 1.5])
def test_meta_gradient_against_differences(problem, alpha, rng):
    for scale in (0.3, 1.0):
        w = points(problem, rng, scale)
        assert close(problem.meta_gradient(w, alpha), differences(lambda p: problem.meta_value(p, alpha), w), 1e-7)


@every_loss
def test_meta_functions_by_definition(problem, rng):
    w, alpha = points(problem, rng, 0.7), 0.4
    adapted = w - alpha * problem.gradient(w)
    assert close(problem.adapted(w, alpha), adapted)
    assert np.array_equal(problem.meta_value(w, alpha), problem.value(problem.adapted(w, alpha)))
    assert close(
        problem.meta_gradient(w, alpha), differences(lambda p: problem.value(p - alpha * problem.gradient(p)), w), 1e-7
    )


@every_loss
def test_one_common_point_is_that_point_for_every_user(problem, rng):
    w, v = rng.normal(size=problem.dim), rng.normal(size=problem.dim)
    each, along = np.tile(w, (problem.n_users, 1)), np.tile(v, (problem.n_users, 1))
    for name in ("value", "gradient", "hessian", *(["accuracy"] if problem.loss.classifies else [])):
        assert np.array_equal(getattr(problem, name)(w), getattr(problem, name)(each))
    for a in (w, each):
        for b in (v, along):
            assert np.array_equal(problem.hvp(a, b), problem.hvp(each, along))
    for name in ("meta_value", "meta_gradient", "adapted"):
        assert np.array_equal(getattr(problem, name)(w, 0.3), getattr(problem, name)(each, 0.3))


@every_loss
def test_a_user_does_not_see_the_others(problem, rng):
    loss, fed = problem.loss, problem.federation
    w = points(problem, rng, 0.8)
    for i in range(3):
        alone = Problem(for_user(loss, i), fed.select([i]))
        assert np.array_equal(alone.value(w[i]), problem.value(w)[[i]])
        assert np.array_equal(alone.gradient(w[i]), problem.gradient(w)[[i]])
    changed = w.copy()
    changed[1] += 1.0
    same = np.array([True, False, True])
    assert (
        np.array_equal((problem.gradient(changed) == problem.gradient(w)).all(1), same)
        or not problem.hessian(w)[1].any()
    )


# -- constants as bounds
# -------------------------------------------------------------------------------------------------


def for_user(loss: Loss, i: int) -> Loss:
    """The loss as user i sees it (a quadratic may hold a matrix a user)."""
    a = getattr(loss, "A", None)
    return type(loss)(a[i]) if a is not None and len(a) > 1 else loss


def norms(h):
    return np.abs(np.linalg.eigvalsh(h)).max(-1)


class User:
    """f_i at many points at once: one user's data as that many users, and the same for single data."""

    def __init__(self, loss: Loss, fed: Federation, i: int) -> None:
        self.loss, self.fed, self.rows = for_user(loss, i), fed.select([i]), fed[i]
        self.made: dict[int, Problem] = {}

    def of(self, count: int) -> Problem:
        if count not in self.made:
            self.made[count] = Problem(self.loss, self.fed.select([0] * count))
        return self.made[count]

    def gradients(self, w):
        return self.of(len(w)).gradient(w)

    def hessians(self, w):
        return self.of(len(w)).hessian(w)

    def data(self, w, operation):
        """Gradients or Hessians of every datum at every point, (data, points, ...)."""
        m, p = len(self.rows.weights), len(w)
        key = -p
        if key not in self.made:
            x, y = np.repeat(self.fed.x, p, axis=0), None if self.fed.y is None else np.repeat(self.fed.y, p)
            self.made[key] = Problem(
                self.loss, Federation(x, y, np.ones(m * p), np.arange(m * p + 1), scale=self.fed.scale)
            )
        out = getattr(self.made[key], operation)(np.tile(w, (m, 1)))
        keep = self.rows.weights > 0
        return out.reshape(m, p, *out.shape[1:])[keep], self.rows.weights[keep]

    # what a constant is the supremum of, as a score of (points, k) parameters
    def B(self, w):
        return np.linalg.norm(self.gradients(w), axis=1)

    def L(self, w):
        return norms(self.hessians(w))

    def rho(self, pair):
        """A difference quotient of the Hessian between two points: at most rho, however far apart."""
        w, v = np.split(pair, 2, axis=1)
        step = 0.02 * v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)
        return norms(self.hessians(w + step) - self.hessians(w - step)) / 0.04

    def sigma_G(self, w):
        g, weights = self.data(w, "gradient")
        return np.sqrt(np.einsum("m,mpd->p", weights, (g - np.einsum("m,mpd->pd", weights, g)) ** 2))

    def sigma_H(self, w):
        h, weights = self.data(w, "hessian")
        return np.sqrt(weights @ norms(h - np.einsum("m,mpde->pde", weights, h)) ** 2)

    def B_datum(self, w):
        return np.linalg.norm(self.data(w, "gradient")[0], axis=2).max(0)

    def L_datum(self, w):
        return norms(self.data(w, "hessian")[0]).max(0)


QUANTITIES = ("B", "L", "rho", "sigma_G", "sigma_H", "B_datum", "L_datum")


def climb(score, start, rng, rounds=25, project=lambda w: w):
    """A population search: keep what is better, with steps of all sizes; returns the population, best last."""
    population, best = project(start), None
    best = score(population)
    for k in range(rounds):
        leaders = (
            population[rng.permutation(np.argsort(best)[-len(best) // 3 :]).repeat(4)[: len(best)]]
            if k % 5 == 4
            else population
        )
        size = 10.0 ** rng.uniform(-2, 0.3, (len(best), 1))
        trial = project(leaders + size * rng.normal(size=population.shape) * np.maximum(np.abs(leaders), 0.3))
        value = score(trial)
        better = value > best
        population[better], best[better] = trial[better], value[better]
    return population[np.argsort(best)], np.sort(best)


def searched(score, dim, rng, project=lambda w: w):
    """Largest value found from 48 starts of all scales, polished by Nelder and Mead."""
    start = rng.normal(size=(48, dim)) * 10.0 ** rng.uniform(-1.5, 1.7, (48, 1))
    start[0] = 0.0
    population, values = climb(score, start, rng, project=project)
    polished = minimize(
        lambda w: -score(project(w[None]))[0], population[-1], method="Nelder-Mead", options={"maxfev": 60}
    )
    return max(values[-1], -polished.fun)


def within(value, constant):
    return value <= constant * (1 + 1e-9) + 1e-12


@every_loss
@pytest.mark.parametrize("ball", [None, 2.5])
def test_searched_points_never_exceed_the_constants(loss, ball, rng):
    fed = federation(loss)
    problem = Problem(loss, fed)
    center = np.linspace(-0.5, 1.0, problem.dim)
    constants = problem.constants() if ball is None else problem.constants(radius=ball, center=center)

    def project(w):  # to the ball
        parts = [w[:, : problem.dim], w[:, problem.dim :]]
        if ball is not None:
            away = parts[0] - center
            parts[0] = center + away * np.minimum(
                1, 0.98 * ball / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-300)
            )
        return np.concatenate(parts, axis=1)

    for name in QUANTITIES:
        c = constants[name]
        assert c.values.shape == (fed.n_users,), name
        if c.how == "none":
            assert len(c.reason) > 10, f"{name}: say why there is none"
            assert np.isinf(c.values).all()
            continue
        assert c.usable, name
        if ball is not None and name not in ("B", "B_datum", "sigma_G"):
            continue  # the same number as on the whole space
        for i in range(fed.n_users):
            score = getattr(User(loss, fed, i), name)
            most = searched(score, problem.dim * (2 if name == "rho" else 1), rng, project)
            assert within(most, c.values[i]), f"{name} of user {i}: {most} found, {c.values[i]} claimed ({c.reason})"
            assert most > 0.3 * c.values[i] or c.values[i] < 1e-9, (
                f"{name} of user {i}: the search found only {most} of {c.values[i]}; it would not notice a wrong "
                "constant"
            )


@every_loss
def test_heterogeneity_at_points_never_exceeds_its_constants(loss, rng):
    shared = concept_shift(
        n_users=3, dim=3, size=4, shift=0.8
    )  # one curvature for all users only if the Hessian does not see the labels
    for fed in (federation(loss), federation(loss).select([0, 0, 0]), shared):
        problem = Problem(loss, fed)
        for radius in (None, 2.0):
            constants = problem.constants(radius=radius)
            for _ in range(60):
                w = rng.normal(size=problem.dim)
                w *= 10.0 ** rng.uniform(-2, 2) if radius is None else rng.uniform() * radius / np.linalg.norm(w)
                g, h = problem.gradient(w), problem.hessian(w)
                found = {
                    "gamma_G": np.sqrt(((g - g.mean(0)) ** 2).sum(1).mean()),
                    "gamma_H": np.sqrt((norms(h - h.mean(0)) ** 2).mean()),
                }
                for name, value in found.items():
                    assert getattr(problem, name)(w) == pytest.approx(value, rel=1e-12)
                    assert constants[name].values.shape == (1,)
                    assert constants[name].how != "none" or constants[name].reason
                    assert within(value, constants[name].max()), (
                        f"{name}: {value} at a point, {constants[name]} claimed"
                    )


# -- constants of the data
# ------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("kappa", [0.5, 4.0])
def test_moved_data_never_exceed_the_lipschitz_constants(loss, kappa, rng):
    loss, fed = for_user(loss, 0), federation(loss)
    radius = 1.5
    dim, most = loss.dim(fed), float(np.linalg.norm(fed.x[fed.weights > 0], axis=1).max())
    without, ball = (
        Problem(loss, fed).constants(),
        Problem(loss, fed).constants(radius=radius, metric="labelled", kappa=kappa),
    )
    targets = fed.y if fed.y is not None else np.zeros(1)
    low, high = (0, int(targets.max())) if loss.classifies else (-np.abs(targets).max(), np.abs(targets).max())
    n_pairs, p = 100, fed.n_features
    location = (
        float(without["lip_gradient_z"].max()) < np.inf and not loss.classifies
    )  # then z is x alone, without a bound

    def unpacked(t):
        w, x, other = t[:, :dim], t[:, dim : dim + p], t[:, dim + p : dim + 2 * p]
        labels = t[:, -2:]
        w, x, other = (
            v * np.minimum(1, size / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300))
            for v, size in ((w, radius), (x, most), (other, most))
        )
        labels = (labels > 0) * high if loss.classifies else np.clip(labels, low, high)
        return w, x, other, labels

    def quotients(t, operation):
        w, x, other, y = unpacked(t)
        n = len(t)
        fed = Federation(np.concatenate([x, other]), y.T.ravel(), np.ones(2 * n), np.arange(2 * n + 1))
        out = getattr(Problem(loss, fed), operation)(np.tile(w, (2, 1)))
        moved = np.linalg.norm(out[:n] - out[n:], axis=1) if operation == "gradient" else norms(out[:n] - out[n:])
        label = (
            np.zeros(n)
            if location
            else kappa * (np.abs(y[:, 0] - y[:, 1]) if not loss.classifies else y[:, 0] != y[:, 1])
        )
        distance = np.linalg.norm(x - other, axis=1) + label
        return np.where(distance > 1e-5, moved / np.maximum(distance, 1e-5), 0.0)

    for name, operation in (("lip_gradient_z", "gradient"), ("lip_hessian_z", "hessian")):
        start = rng.normal(size=(n_pairs, dim + 2 * p + 2)) * 10.0 ** rng.uniform(-1, 1, (n_pairs, 1))
        near = n_pairs // 2
        start[:near, dim + p : dim + 2 * p] = start[:near, dim : dim + p] + 1e-2 * rng.normal(size=(near, p))
        start[:near, -1] = start[:near, -2]
        found = climb(lambda t, operation=operation: quotients(t, operation), start, rng, rounds=30)[1][-1]
        for constants in (ball, without):
            c = constants[name]
            assert c.values.shape == (fed.n_users,)
            if c.how == "none":
                assert len(c.reason) > 10
            elif constants is ball or location:
                assert found <= c.values[0] * (1 + 1e-6) + 1e-10, (
                    f"{name}: {found} found, {c.values[0]} claimed ({c.reason})"
                )
        c = ball[name]
        assert c.how == "none" or found > 0.1 * c.values[0] or c.values[0] < 1e-9, (
            f"{name}: the search found only {found} of {c.values[0]}"
        )
