"""Losses of pairs of a user and a point against the losses of all users, point by point."""

from __future__ import annotations

import numpy as np
import pytest

from pfl_theory import Federation, Problem
from pfl_theory.algorithms import candidates
from pfl_theory.algorithms.candidates import losses_of_pairs
from pfl_theory.losses import MLP, Logistic, Quadratic

USERS, WHICH = np.array([0, 0, 0, 2, 2, 3]), np.array([4, 1, 0, 3, 3, 2])  # user 1 takes no part


KINDS = {  # loss, share of zeros in the data
    "logistic": (Logistic(l2=0.1), 0.0),
    "quadratic": (Quadratic(), 0.0),
    "network, no zeros": (MLP(2, (9, 4)), 0.0),
    "network": (MLP(2, (9, 4)), 0.7),
    "wide network": (MLP(2, (80, 60), "tanh", output="softmax", objective="squared", factor=0.5), 0.7),
    "no hidden layer": (MLP(2, ()), 0.7),
}
SPARSE = ("network", "wide network")


def problem_of(kind, dtype="float64"):
    """Users of fewer and of more rows than a block, which they do not weigh equally."""
    (loss, zeros), rng, sizes = KINDS[kind], np.random.default_rng(0), (5, 30, 150, 64)
    x = [rng.normal(size=(m, 12)) * (rng.random((m, 12)) >= zeros) for m in sizes]
    y, weights = [rng.integers(0, 2, m) for m in sizes], [rng.dirichlet(np.ones(m)) for m in sizes]
    return Problem(loss, Federation.from_arrays(x, y, sample_weight=weights), dtype)


def functions():
    return Problem.from_functions(lambda w: (w**2).sum(1) + np.arange(4), lambda w: 2 * w, n_users=4, dim=3)


def points_of(problem, dtype="float64"):
    return np.random.default_rng(1).normal(size=(5, problem.dim)).astype(dtype)


def one_by_one(problem, points):
    return np.array([problem.value(points[j])[i] for i, j in zip(USERS, WHICH, strict=True)])


@pytest.mark.parametrize("kind", [*KINDS, "functions"])
def test_pairs_are_the_losses_of_all_users_at_each_point(kind):
    problem = functions() if kind == "functions" else problem_of(kind)
    points = points_of(problem)
    found, expected = losses_of_pairs(problem, points, USERS, WHICH), one_by_one(problem, points)
    if kind in SPARSE:  # products of up to 80 terms in another order
        assert np.abs(found / expected - 1).max() < 1e-13
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", SPARSE)
def test_pairs_in_single_precision(kind):
    points = points_of(problem_of(kind), "float32")
    found = losses_of_pairs(problem_of(kind, "float32"), points, USERS, WHICH)
    assert np.abs(found / one_by_one(problem_of(kind), points.astype(float)) - 1).max() < 1e-5


def test_only_the_pairs_are_computed(monkeypatch):
    """Whoever takes no part costs nothing, on rows; functions take all users at once, a call a slot."""
    seen = []
    driver = candidates.value_users

    def counted(*call):
        seen.append(call[-3])
        driver(*call)

    monkeypatch.setattr(candidates, "driver_for", lambda *_: counted)
    problem = problem_of("logistic")
    losses_of_pairs(problem, points_of(problem), USERS, WHICH)
    assert sorted(seen) == USERS.tolist()
    for kind in ("logistic", "network"):
        nothing = np.zeros(0, dtype=np.int64)
        assert losses_of_pairs(problem_of(kind), points_of(problem_of(kind)), nothing, nothing).shape == (0,)
    assert losses_of_pairs(functions(), points_of(functions()), nothing, nothing).shape == (0,)


@pytest.mark.parametrize("kind", ["network", "network, no zeros"])
def test_pairs_for_any_number_of_threads(kind, monkeypatch):
    monkeypatch.setattr(candidates, "chunks", lambda n, work: [(k, k + 1) for k in range(n)])
    problem, found = problem_of(kind, "float32"), set()
    for threads in ("1", "2"):
        monkeypatch.setenv("PFL_THEORY_THREADS", threads)
        found.add(losses_of_pairs(problem, points_of(problem, "float32"), USERS, WHICH).tobytes())
    assert len(found) == 1
