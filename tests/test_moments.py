"""Exact expectations: test values in fractions, enumeration, the algorithm itself by Monte Carlo, and the backward
operator.
"""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction as Fr

import numpy as np
import pytest
from reference.backward import backward

import pfl_theory as pfl
from pfl_theory.errors import InputError
from pfl_theory.expectations.quadratics import QuadraticUsers, quadratic_moments, quadratic_users, recursion, stationary


def fractions(values, shape):
    out = np.empty(len(values), dtype=object)
    out[:] = [Fr(v) for v in values]
    return out.reshape(shape)


def the_example():
    """docs/theory/expectations.md#9-6: three users of one variable, two a round, two local steps."""
    n = 3
    return QuadraticUsers(
        fractions([1, Fr(1, 2), 2], (n, 1, 1)),
        fractions([0, 1, Fr(-1, 2)], (n, 1)),
        fractions([1, 1, 1], (n, 1, 1)),
        fractions([Fr(1, 4)] * 3, (n, 1, 1)),
    )


def as_floats(users):
    return QuadraticUsers(
        *(np.asarray(part, dtype=np.float64) for part in (users.A, users.c, users.inner, users.outer))
    )


def test_values_come_out_as_the_very_fractions():
    found = recursion(the_example(), Fr(1, 4), Fr(1, 5), 2, 2, "exact", 2, fractions([1], 1))
    assert found.local_gradient[0, 0] == Fr(49, 256)
    assert found.local_gradient[0, 1] == Fr(570085177, 3623878656)
    assert found.mean[1, 0] == Fr(5339, 6400)
    assert found.covariance[1, 0, 0] == Fr(2458840993, 251658240000)
    assert found.meta_gradient[1] == Fr(193213683338233, 1484340697497600)
    assert float(found.local_gradient[1, 1]) == pytest.approx(0.107293203397471, abs=1e-15)
    assert float(found.meta_gradient[2]) == pytest.approx(0.0892250262897294, abs=1e-15)
    mean, cov, norm = stationary(
        as_floats(the_example()), pfl.PerFedAvg(alpha=0.25, beta=0.2, local_steps=2, participation=2)
    )
    assert mean[0] == pytest.approx(21407 / 225119, rel=1e-12)
    assert cov[0, 0] == pytest.approx(0.0261358968982091, rel=1e-12)
    assert norm == pytest.approx(0.00606860041981274, rel=1e-12)


@pytest.mark.parametrize("variant", ["exact", "first-order"])
def test_one_round_equals_the_enumeration_of_subsets_and_two_point_noises(variant):
    """Every subset of users, every sign of every noise: in fractions, so equality is equality."""
    users, alpha, beta, tau, m = the_example(), Fr(1, 4), Fr(1, 5), 2, 2
    signs = list(itertools.product((-1, 1), repeat=2 * tau))

    def ends(i):
        a, c = users.A[i, 0, 0], users.c[i, 0]
        for sign in signs:
            w = Fr(1)
            for t in range(tau):
                adapted = w - alpha * (a * (w - c) + sign[2 * t])  # inner variance 1
                g = a * (adapted - c) + Fr(1, 2) * sign[2 * t + 1]  # outer variance 1/4
                w = w - beta * ((1 - alpha * a) * g if variant == "exact" else g)
            yield w

    own = [list(ends(i)) for i in range(3)]
    total = square = Fr(0)
    count = 0
    for i, k in itertools.combinations(range(3), 2):
        for u, v in itertools.product(own[i], own[k]):
            w = (u + v) / 2
            total, square, count = total + w, square + w * w, count + 1
    found = recursion(users, alpha, beta, tau, m, variant, 1, fractions([1], 1))
    assert found.mean[1, 0] == total / count
    assert found.covariance[1, 0, 0] == square / count - (total / count) ** 2


def random_users(rng, n, d, noise=0.3):
    q = rng.normal(size=(n, d, d))
    return QuadraticUsers(
        q @ q.transpose(0, 2, 1) / d,
        rng.normal(size=(n, d)),
        noise * np.broadcast_to(np.eye(d), (n, d, d)),
        noise / 2 * np.broadcast_to(np.eye(d), (n, d, d)),
    )


def test_kept_matrices_and_the_sum_over_users_agree(monkeypatch):
    from pfl_theory.expectations import quadratics as moments

    users = random_users(np.random.default_rng(0), 7, 3)
    algorithm = pfl.PerFedAvg(alpha=0.2, beta=0.1, local_steps=3, participation=2)
    kept = quadratic_moments(users, algorithm, rounds=6, w0=[1.0, -1.0, 0.5])
    monkeypatch.setattr(moments, "KEPT_DIM", 0)
    summed = quadratic_moments(users, algorithm, rounds=6, w0=[1.0, -1.0, 0.5])
    for a, b in zip(kept, summed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "algorithm",
    [
        pfl.PerFedAvg(
            alpha=0.3, beta=0.2, local_steps=3, participation=2, batch_inner=1, batch_outer=2, batch_hessian=1
        ),
        pfl.PerFedAvg(
            alpha=0.3,
            beta=0.2,
            local_steps=2,
            participation=3,
            batch_inner=2,
            batch_outer=1,
            variant="first-order",
            replace=False,
        ),
        pfl.PerFedAvg(
            alpha=0.3,
            beta=0.2,
            local_steps=2,
            participation=2,
            batch_inner=1,
            batch_outer=1,
            variant="hessian-free",
            delta=0.5,
        ),
        pfl.FedAvg(beta=0.3, local_steps=4, participation=1, batch=1),
    ],
    ids=["exact", "first-order", "hessian-free", "FedAvg"],
)
def test_the_algorithm_itself_agrees(algorithm):
    """Monte Carlo of the library's own rounds: the recursion is checked by the code and the code by the recursion."""
    rng = np.random.default_rng(1)
    curvatures = [[[1.0, 0.2], [0.2, 0.6]], [[0.5, 0.0], [0.0, 1.2]], [[0.8, -0.3], [-0.3, 0.9]]]
    fed = pfl.Federation.from_arrays([rng.normal(loc=i, size=(4, 2)) for i in range(3)])
    problem = pfl.Problem(pfl.losses.Quadratic(curvatures), fed)
    rounds, runs, w0 = 4, 3000, np.array([2.0, -1.0])
    exact = quadratic_moments(quadratic_users(problem, algorithm), algorithm, rounds=rounds, w0=w0)
    ends = np.stack([pfl.run(algorithm, problem, rounds=rounds, w0=w0, seed=s).w for s in range(runs)])
    spread = np.sqrt(np.diag(exact.covariance[-1]))
    assert (np.abs(ends.mean(0) - exact.mean[-1]) <= 4.5 * spread / np.sqrt(runs) + 1e-12).all()
    g = problem.meta_gradient if getattr(algorithm, "alpha", 0.0) else lambda w, alpha: problem.gradient(w)
    norms = np.array([float((g(w, getattr(algorithm, "alpha", 0.0)).mean(0) ** 2).sum()) for w in ends])
    assert abs(norms.mean() - exact.meta_gradient[-1]) <= 4.5 * norms.std() / np.sqrt(runs)
    # and a wrong number of users a round is seen
    other = dataclasses.replace(algorithm, participation=3 if algorithm.participation != 3 else 1)
    wrong = quadratic_moments(quadratic_users(problem, algorithm), other, rounds=rounds, w0=w0)
    assert not np.allclose(wrong.covariance[-1], np.cov(ends.T), rtol=0.2)


def log_cosh_users():
    centres = np.array([-1.0, 0.25, 1.5])[:, None]
    return pfl.Problem.from_functions(
        lambda w: np.log(np.cosh(w - centres)).sum(1),
        lambda w: np.tanh(w - centres),
        lambda w, v: v / np.cosh(w - centres) ** 2,
        n_users=3,
        dim=1,
    )


def test_backward_operator_reaches_its_values():
    algorithm = pfl.PerFedAvg(alpha=0.5, beta=0.4, local_steps=3, participation=2)
    found = backward(log_cosh_users(), algorithm, rounds=61, w0=1.2, interval=(-1.0, 1.5))
    expected = {
        0: 0.126266134271,
        1: 0.0483882553834,
        2: 0.0233268971658,
        5: 0.0129942241642,
        20: 0.0127313470751,
        60: 0.0127313470727,
    }
    for k, value in expected.items():
        assert found.values[k] == pytest.approx(value, abs=1e-12)
    assert found.lower[20] <= found.values[60] <= found.upper[20]
    assert found.upper[20] - found.lower[20] < 1e-11
    fewer = backward(log_cosh_users(), algorithm, rounds=5, w0=1.2, interval=(-1.0, 1.5), nodes=44)
    np.testing.assert_allclose(fewer.values, found.values[:5], atol=1e-12)


def test_backward_operator_equals_all_sequences_of_subsets():
    problem, alpha, beta, tau = log_cosh_users(), 0.5, 0.4, 3
    algorithm = pfl.PerFedAvg(alpha=alpha, beta=beta, local_steps=tau, participation=2)
    subsets = list(itertools.combinations(range(3), 2))

    def paths(w):
        point, path = np.full((3, 1), w), [np.full(3, w)]
        for _ in range(tau):
            point = point - beta * problem.meta_gradient(point, alpha)
            path.append(point[:, 0].copy())
        return np.array(path)

    total, ends = 0.0, [1.2]
    for _ in range(4):
        ends = [paths(w)[-1, list(s)].mean() for w in ends for s in subsets]
    for w in ends:
        path = paths(w)
        total += np.mean(
            [
                problem.meta_gradient(np.array([path[t, list(s)].mean()]), alpha).mean() ** 2
                for s in subsets
                for t in range(tau)
            ]
        )
    assert total / len(ends) == pytest.approx(
        backward(problem, algorithm, rounds=5, w0=1.2, interval=(-1.0, 1.5)).values[4], abs=1e-12
    )


def test_backward_operator_against_the_algorithm():
    """Runs of the library's own rounds on the functions: the fifth round's average over local steps."""
    problem, algorithm = log_cosh_users(), pfl.PerFedAvg(alpha=0.5, beta=0.4, local_steps=3, participation=2)
    exact = backward(problem, algorithm, rounds=5, w0=1.2, interval=(-1.0, 1.5)).values[4]
    runs = [
        pfl.run(algorithm, problem, rounds=5, w0=[1.2], seed=s, record="local_gradient").records["local_gradient_norm2"]
        for s in range(600)
    ]
    found = np.array([r[4].mean() for r in runs])
    assert abs(found.mean() - exact) <= 4.5 * found.std() / np.sqrt(len(found))


def test_bad_input_is_refused():
    fed = pfl.Federation.from_arrays([[0.0, 1.0], [2.0]])
    quadratic = pfl.Problem(pfl.losses.Quadratic(), fed)
    with pytest.raises(InputError, match="quadratic losses"):
        quadratic_users(pfl.Problem(pfl.losses.LogCosh(), fed), pfl.FedAvg(beta=0.1))
    with pytest.raises(InputError, match="at most 1"):
        quadratic_users(quadratic, pfl.FedAvg(beta=0.1, batch=2, replace=False))
    with pytest.raises(InputError, match="PerFedAvg and FedAvg"):
        quadratic_users(quadratic, pfl.LocalTraining(beta=0.1))
    with pytest.raises(InputError, match="does not contract"):
        stationary(quadratic_users(quadratic, pfl.FedAvg(beta=3.0)), pfl.FedAvg(beta=3.0))
    with pytest.raises(InputError, match="leaves"):
        backward(
            log_cosh_users(),
            pfl.FedAvg(beta=0.4, local_steps=3, participation=1),
            rounds=3,
            w0=0.1,
            interval=(0.0, 0.5),
        )
    with pytest.raises(InputError, match="batches"):
        backward(log_cosh_users(), pfl.FedAvg(beta=0.4, batch=2), rounds=3, w0=0.1, interval=(-1.0, 1.5))
