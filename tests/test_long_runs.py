"""Averages over long runs: against the round-by-round recursion in fractions and floats, against closed forms, and
enclosed in balls.
"""

from __future__ import annotations

from fractions import Fraction as Fr

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.errors import InputError
from pfl_theory.expectations.enumerated_runs import enumerate_run
from pfl_theory.expectations.long_runs import long_run
from pfl_theory.expectations.quadratics import QuadraticUsers, recursion
from pfl_theory.judging import exact_runs, instance_one
from pfl_theory.losses.noise import FiniteNoise, Flat
from pfl_theory.losses.piecewise import Piecewise, random_piecewise
from pfl_theory.rigour.balls import Ball
from tests.test_moments import fractions, random_users, the_example


def balls(users):
    return QuadraticUsers(*(Ball(part) for part in (users.A, users.c, users.inner, users.outer)))


@pytest.mark.parametrize("variant", ["exact", "first-order", "plain"])
@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_equal_to_the_recursion_in_fractions(variant, rounds):
    users, start = the_example(), fractions([1], 1)
    slow = recursion(users, Fr(1, 4), Fr(1, 5), 2, 2, variant, rounds, start)
    fast = long_run(users, Fr(1, 4), Fr(1, 5), 2, 2, variant, rounds, start)
    assert (fast.X2, fast.M2, fast.first, fast.last) == (
        slow.statement_i,
        slow.statement_ii,
        slow.value[0],
        slow.value[-1],
    )
    assert fast.mean[0] == slow.mean[-1, 0]


def test_spread_over_users_in_fractions():
    """Sum over all paths of the two-round example, by enumeration of the sets of users (no noise)."""
    import itertools

    users = the_example()
    silent = QuadraticUsers(users.A, users.c, users.inner * 0, users.outer * 0)
    alpha, beta, tau = Fr(1, 4), Fr(1, 5), 2
    lam = [(1 - alpha * a) ** 2 * a for a in users.A[:, 0, 0]]
    c = users.c[:, 0]

    def spread(w):
        g = [lam[i] * (w - c[i]) for i in range(3)]
        return sum((v - sum(g) / 3) ** 2 for v in g) / 3

    points, total = [Fr(1)], Fr(0)
    for _ in range(2):
        total += sum(map(spread, points)) / len(points)
        after = []
        for w in points:
            ends = [w * (1 - beta * lam[i]) ** tau + (1 - (1 - beta * lam[i]) ** tau) * c[i] for i in range(3)]
            after += [(ends[i] + ends[k]) / 2 for i, k in itertools.combinations(range(3), 2)]
        points = after
    assert long_run(silent, alpha, beta, tau, 2, "exact", 2, fractions([1], 1)).gamma2 == total / 2


@pytest.mark.parametrize("tau", [1, 2, 3, 7, 13])
def test_balls_enclose_the_recursion(tau):
    users = random_users(np.random.default_rng(tau), 4, 2)
    slow = recursion(users, 0.2, 0.1, tau, 2, "exact", 23, np.array([1.0, -1.0]))
    fast = long_run(balls(users), 0.2, 0.1, tau, 2, "exact", 23, Ball(np.array([1.0, -1.0])))
    for ball, value in (
        (fast.X2, slow.statement_i),
        (fast.M2, slow.statement_ii),
        (fast.first, slow.value[0]),
        (fast.last, slow.value[-1]),
    ):
        assert abs(float(ball.mid) - value) <= float(ball.rad) + 1e-13 * abs(value)
        assert float(ball.rad) <= 1e-12 * (1 + abs(value))


@pytest.mark.parametrize(
    "keywords",
    [
        {"tau": 3, "rounds": 300, "beta": 1 / 90},
        {"tau": 4096, "rounds": 10**12, "beta": 1 / (40 * 4096**2)},
        {"tau": 16, "rounds": 10**6, "beta": 0.002, "alpha": 0.5, "w0": 1.0},
        {"tau": 8, "rounds": 1000, "beta": 0.01, "c": (-1.0, 0.25, 0.25, 0.5), "participation": 3, "w0": -0.5},
        {"tau": 5, "rounds": 77, "beta": 0.02, "participation": 2, "w0": 1.0},
    ],
)
def test_instance_one_closed_form_equals_the_recursion(keywords):
    form = instance_one.closed_form(**keywords)
    run = exact_runs.exact_run(instance_one.instance(**keywords))
    for exact, ball in ((form.X2, run.X2), (form.M2, run.M2)):
        assert abs(float(exact) - float(ball.mid)) <= float(ball.rad) + 1e-15 * float(exact)
        assert float(ball.rad) < 1e-9 * float(exact)


def test_values_of_instance_one():
    """Constants that are ruled out at each tau, as a separate script has them; also for n = 10, r = 0.2."""
    c = tuple(np.resize([-1.0, 1.0], 10).tolist())
    form = instance_one.closed_form(tau=4, rounds=10**15, beta=(4 / 9) / (10 * 16), c=c, participation=2)
    x, p = (4 / 9) / 160, 4 / 9
    assert float(form.M2) / (x * (p + x * 12)) == pytest.approx(1.85659274, abs=1e-8)
    ratios = {1: 0.526315789, 2: 0.952380952, 8: 3.66597406, 256: 116.389907}
    for tau, ratio in ratios.items():
        x = 1 / (10 * tau**2)
        found = float(instance_one.closed_form(tau=tau, rounds=10**15, beta=x).M2) / (x * (1 + x * tau * (tau - 1)))
        assert found == pytest.approx(ratio, rel=1e-8)


def test_the_extension_is_never_visited_and_hypotheses_hold():
    """The algorithm on the C^2 functions stays where they are quadratic; constants are those of the whole line."""
    instance = instance_one.instance(
        tau=16, rounds=200, beta=0.01, alpha=0.5, c=(-1.0, 0.5, 0.5), participation=1, w0=1.0
    )
    found = instance.constants
    assert found["L"].bound("L") == 1.0
    assert found["rho"].bound("rho") == 0.5  # L / a
    assert found["B"].bound("B") == 4.0  # L (R + a/2) + L max |c_i|
    assert exact_runs.quadratic_balls(instance) is not None
    run = pfl.run(instance.algorithm, instance.problem, rounds=200, w0=[1.0], seed=3)
    assert abs(run.w[0]) <= 1.0
    assert float(exact_runs.infimum(instance).mid) <= float(instance.problem.meta_value([0.0], 0.5).mean())


def test_monte_carlo_of_the_algorithm_on_the_extension():
    """Runs of the library's algorithm on the functions, against the recursion: within 4.5 standard errors."""
    c = (-1.0, 0.5, 0.5)
    instance = instance_one.instance(tau=4, rounds=30, beta=0.05, alpha=0.5, c=c, participation=1, w0=1.0)
    exact = exact_runs.exact_run(instance)
    means = np.array(
        [
            pfl.run(instance.algorithm, instance.problem, rounds=30, w0=[1.0], seed=s, record="local_gradient")
            .records["local_gradient_norm2"][:-1]
            .mean()
            for s in range(150)
        ]
    )
    assert abs(means.mean() - float(exact.M2.mid)) <= 4.5 * means.std() / np.sqrt(len(means))


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_enumeration_and_recursion_agree_where_both_apply(alpha):
    """Bounded noise in the quadratic region: one round, every quantity, by two routes."""
    base = instance_one.users((-1.0, 0.25, 0.75), R=30.0)
    problem = pfl.Problem.from_curves(Piecewise(base.family.curves, FiniteNoise([[-0.5], [0.5]], [Flat()])))
    algorithm = (
        pfl.PerFedAvg(alpha, 0.2, 2, 2, 1, 1)
        if alpha
        else pfl.FedAvg(beta=0.2, local_steps=3, participation=2, batch=1)
    )
    instance = claims.Instance(problem, alpha, algorithm=algorithm, rounds=1, w0=np.array([1.2]))
    assert exact_runs.quadratic_balls(instance) is not None
    by_recursion, enumerated = exact_runs.exact_run(instance), enumerate_run(problem, algorithm, alpha, 1, 1.2)
    for name in ("X2", "M2", "gamma2", "gamma2_steps", "v2"):
        one, other = getattr(by_recursion, name), getattr(enumerated, name)
        assert abs(float(one.mid) - float(other.mid)) <= 1e-13
    assert float((by_recursion.first - by_recursion.last).mid) == pytest.approx(
        float((enumerated.first - enumerated.last).mid), abs=1e-11
    )


@pytest.mark.parametrize("variant", ["exact", "first-order", "hessian-free"])
def test_enumeration_against_the_algorithm(variant):
    rng = np.random.default_rng(5)
    family = Piecewise(random_piecewise(rng, n_users=2).curves, FiniteNoise([[-1.0], [1.0]], [Flat()]))
    problem = pfl.Problem.from_curves(family)
    L = problem.constants()["L"].max()
    algorithm = pfl.PerFedAvg(0.4 / L, 0.2 / L, 2, 1, 1, 2, 1, variant, 0.3 if variant == "hessian-free" else None)
    found = enumerate_run(problem, algorithm, 0.4 / L, 2, 0.7)
    values = []
    for seed in range(800):
        run = pfl.run(algorithm, problem, rounds=2, w0=[0.7], seed=seed, record=("local_gradient", "meta_value"))
        values.append([run.records["local_gradient_norm2"][:2].mean(), run.records["meta_value"][-1]])
    mean, error = np.mean(values, 0), np.std(values, 0) / np.sqrt(len(values))
    assert abs(mean[0] - float(found.M2.mid)) <= 4.5 * error[0]
    assert abs(mean[1] - float(found.last.mid)) <= 4.5 * error[1]


def test_enumeration_of_paths_by_hand():
    """One user a round of two, no noise: four sequences of users."""
    import itertools

    problem = pfl.Problem.from_curves(random_piecewise(np.random.default_rng(2), n_users=2))
    algorithm = pfl.PerFedAvg(alpha=0.1, beta=0.05, local_steps=2, participation=1)
    found = enumerate_run(problem, algorithm, 0.1, 2, 0.4)
    total, ends = 0.0, []
    for users in itertools.product((0, 1), repeat=2):
        w = 0.4
        for i in users:
            for _ in range(2):
                total += problem.meta_gradient([w], 0.1).mean() ** 2
                w -= 0.05 * problem.meta_gradient([w], 0.1)[i, 0]
        ends.append(problem.meta_value([w], 0.1).mean())
    assert float(found.M2.mid) == pytest.approx(total / 16, rel=1e-12)
    assert float(found.last.mid) == pytest.approx(np.mean(ends), rel=1e-12)


def test_the_infimum_is_below_a_fine_grid_and_close():
    rng = np.random.default_rng(11)
    from pfl_theory.judging.random_runs import _rising

    for _ in range(10):
        curves = [_rising(c, rng) for c in random_piecewise(rng, n_users=2).curves]
        problem = pfl.Problem.from_curves(Piecewise(curves))
        alpha = 0.7 / problem.constants()["L"].max()
        instance = claims.Instance(problem, alpha)
        low = exact_runs.infimum(instance)
        nodes = np.concatenate([c.x for c in curves])
        grid = np.linspace(nodes.min() - 30, nodes.max() + 30, 20001)
        values = np.mean([c.value(grid - alpha * c.gradient(grid)) for c in curves], axis=0)
        assert float(low.lower) <= values.min()
        assert float(low.upper) >= values.min() - 1e-4 * (1 + abs(values.min()))
        assert float(low.rad) < 1e-8 * (1 + abs(values.min()))


def test_bad_input_is_refused():
    users = random_users(np.random.default_rng(0), 2, 9)
    with pytest.raises(InputError, match="d <= 8"):
        long_run(users, 0.0, 0.1, 1, 1, "exact", 5, np.zeros(9))
    problem = pfl.Problem.from_curves(
        Piecewise(instance_one.users().family.curves, FiniteNoise(np.eye(6) - 1 / 6, [Flat()] * 6))
    )
    algorithm = pfl.FedAvg(beta=0.1, local_steps=9, batch=2)
    with pytest.raises(InputError, match="enumeration"):
        enumerate_run(problem, algorithm, 0.0, 2, 0.0)
    logistic = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([[[1.0]]], [[1]]))
    with pytest.raises(InputError, match="quadratic users and piecewise"):
        exact_runs.exact_run(claims.Instance(logistic, 0.0, algorithm=pfl.FedAvg(beta=0.1), rounds=2))
    first_order = pfl.PerFedAvg(alpha=0.1, beta=0.1, variant="first-order")
    quadratic = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[1.0], [2.0]]))
    with pytest.raises(InputError, match="without bound"):
        exact_runs.exact_run(claims.Instance(quadratic, 0.1, algorithm=first_order, rounds=2))
    with pytest.raises(InputError, match="sum 0"):
        instance_one.users((1.0, 1.0))


def test_enumeration_is_blocked():
    """Three million ends of a round within 200 MiB."""
    import tracemalloc

    family = Piecewise(
        random_piecewise(np.random.default_rng(1), n_users=3).curves, FiniteNoise([[-1.0], [1.0]], [Flat()])
    )
    problem = pfl.Problem.from_curves(family)
    L = problem.constants()["L"].max()
    algorithm = pfl.PerFedAvg(0.2 / L, 0.02 / L, 5, 2, batch_inner=1, batch_outer=1)
    tracemalloc.start()
    try:
        enumerate_run(problem, algorithm, 0.2 / L, 1, 0.3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * 2**20
