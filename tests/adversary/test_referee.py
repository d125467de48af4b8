"""The referee's own mathematics against closed forms and against second routes of its own."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.adversary import referees
from pfl_theory.adversary.mathematics import batches, distances, lines, master, polynomials, rows, runs
from pfl_theory.adversary.mathematics.hypotheses import at_most
from pfl_theory.adversary.real import ONE, mp, norm, real, reals
from pfl_theory.claims import lemma_4_2, theorem_4_5
from pfl_theory.judging import instance_one
from pfl_theory.judging.instance import Instance
from pfl_theory.losses.piecewise import Curve, Piecewise, random_piecewise


def close(a, b, digits=30):
    return abs(a - b) <= mp.mpf(10) ** -digits * max(abs(a), abs(b), mp.mpf(10) ** -300)


def test_smoothness_of_the_witness_is_its_bound():
    """4 L + alpha rho B - alpha L^2 / 2 = 7.5 at alpha = L = B = 1, rho = 4."""
    line = lines.Line(lemma_4_2.witness_curve(1.0, 1.0, 4.0, 1.0))
    assert close(line.meta_smoothness(ONE), real(7.5), 14)  # the witness itself has rounded nodes
    assert close(line.B, ONE, 14)


@pytest.mark.parametrize("seed", range(5))
def test_lines_are_integrals_of_one_another(seed):
    """Second routes: differences of f and f' over short steps, the supremum over a fine grid."""
    rng = np.random.default_rng(seed)
    line = lines.Line(random_piecewise(rng, n_users=1).curves[0])
    alpha, e = real(rng.uniform(0, 1)) / line.L, mp.mpf(10) ** -12
    for w in reals(rng.uniform(-3, 8, 10)):
        assert abs((line.value(w + e) - line.value(w - e)) / (2 * e) - line.first(w)) < mp.mpf(10) ** -20
        assert (
            abs((line.meta_first(w + e, alpha) - line.meta_first(w - e, alpha)) / (2 * e) - line.meta_second(w, alpha))
            < 1e-8
        )
    grid = [real(w) for w in np.linspace(float(min(line.meta_cuts(alpha))), float(max(line.meta_cuts(alpha))), 800)]
    seen = max(abs(line.meta_second(w, alpha)) for w in grid)
    exact = line.meta_smoothness(alpha)
    assert seen <= exact * (1 + mp.mpf(10) ** -40)
    assert exact < seen * 1.05 + mp.mpf(10) ** -30


def test_largest_finds_ends_and_insides():
    assert polynomials.largest(lambda t: 1 - t * t, [-ONE, ONE]) == 1
    assert close(polynomials.largest(lambda t: t**4 - t**2, [real(0), ONE / 1]), ONE / 4)
    assert polynomials.largest(lambda t: 0 * t, [-ONE, ONE]) == 0


def test_infimum_of_a_double_well():
    """f' = 0 at the wells: the least value is found between nodes."""
    curve = Curve(np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, -1.0, -1.0, 2.0, 0.0]), 0.0, 0.0)
    users = [lines.Line(curve)]
    grid = min(users[0].value(real(w)) for w in np.linspace(-4, 4, 4001))
    least = lines.infimum(users, real(0))
    assert users[0].value(real(0)) - least > 0.1
    assert -(mp.mpf(10) ** -40) < grid - least < 1e-5


@pytest.mark.parametrize("name", ["Quadratic", "LeastSquares", "Logistic", "LogCosh", "Softmax", "Cosine"])
def test_losses_agree_with_differences(name):
    """Hessians are differences of gradients; and the package's kernels give the same numbers."""
    from pfl_theory.adversary.generators.rows import draw

    rng, e = np.random.default_rng(3), mp.mpf(10) ** -15
    for _ in range(4):
        problem = draw(rng, names=(name,)).problem
        w = rng.normal(size=problem.dim)
        for user in rows.user_functions(problem):
            bend = user.second(reals(w))
            for j in range(problem.dim):
                ahead, behind = reals(w), reals(w)
                ahead[j], behind[j] = ahead[j] + e, behind[j] - e
                slope = [(a - b) / (2 * e) for a, b in zip(user.first(ahead), user.first(behind), strict=True)]
                size = max(abs(v) for row in bend for v in row) + 1
                assert max(abs(s - row[j]) for s, row in zip(slope, bend, strict=True)) < mp.mpf(10) ** -9 * size
            own = np.array([float(v) for v in user.first(reals(w))])
            kernel = problem.gradient(w)[user.index]
            assert np.allclose(own, kernel, rtol=1e-6, atol=1e-6 * np.abs(kernel).max())


@pytest.mark.parametrize("seed", range(6))
def test_transport_by_paths_is_transport_by_assignment(seed):
    """Equal masses: the least cost is that of the best permutation."""
    rng = np.random.default_rng(seed)
    m = 4
    x, y = rng.normal(size=(m, 2)), rng.normal(size=(m, 2))
    points = [*map(tuple, x), *map(tuple, y)]
    p = [Fraction(1, m)] * m + [Fraction(0)] * m
    q = [Fraction(0)] * m + [Fraction(1, m)] * m
    cost = [[norm(reals(np.subtract(a, b))) for b in points] for a in points]
    best = min(mp.fsum(cost[i][m + s] for i, s in enumerate(order)) / m for order in itertools.permutations(range(m)))
    assert close(distances.wasserstein(p, q, cost), best)


@pytest.mark.parametrize("seed", range(6))
def test_transport_on_a_line_is_the_area_between_distribution_functions(seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.normal(size=6))
    p, q = ([Fraction(int(v)) / int(w.sum()) for v in w] for w in rng.integers(1, 20, size=(2, 6)))
    cost = [[abs(real(a) - real(b)) for b in x] for a in x]
    gaps = [abs(real(sum(p[: k + 1]) - sum(q[: k + 1]))) * (real(x[k + 1]) - real(x[k])) for k in range(5)]
    assert close(distances.wasserstein(p, q, cost), mp.fsum(gaps))


def test_enclosing_ball():
    square = [reals(v) for v in ((1, 1), (1, -1), (-1, 1), (-1, -1), (0.5, 0))]
    assert close(distances.enclosing_radius(square), mp.sqrt(2))
    flat = [reals(v) for v in ((1, 0), (-1, 0), (0, 0.5))]
    assert close(distances.enclosing_radius(flat), ONE)


def test_batches_sum_to_one_and_have_the_variance_of_their_factor():
    weights = [ONE / 4] * 4
    values = reals([3, -1, -1, -1])
    for size, replace in ((1, True), (3, True), (2, False), (4, False), (None, True)):
        found = batches.batches(size, weights, replace=replace)
        means = [mp.fsum(s * values[k] for k, s in shares) for _, shares in found]
        assert close(mp.fsum(p for p, _ in found), ONE)
        square = mp.fsum(p * v * v for (p, _), v in zip(found, means, strict=True))
        assert abs(square - 3 * batches.factor(size, 4, replace=replace)) < mp.mpf(10) ** -40


def run_of(curves, algorithm, *, alpha=0.0, rounds=2, w0=0.5, noise=None):
    problem = pfl.Problem.from_curves(Piecewise(curves, noise))
    return Instance(problem, alpha, algorithm=algorithm, rounds=rounds, w0=np.array([w0]))


FLAT = np.array([-9.0, -8.0, 8.0, 9.0])


@pytest.mark.parametrize("participation", [1, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("replace", [True, False])
def test_moments_of_a_run_are_what_writing_it_out_gives(participation, alpha, replace):
    """Two routes to one run of quadratic users with noise: powers of a map of moments, and every batch."""
    from pfl_theory.losses.noise import FiniteNoise, Flat

    users = [Curve(FLAT, np.array([0.0, h, h, 0.0]), 0.0, s) for h, s in ((1.0, 0.3), (0.5, -0.2))]
    noise = FiniteNoise(np.array([[0.25], [-0.25]]), [Flat()])
    if alpha:
        algorithm = pfl.PerFedAvg(alpha, 0.1, 2 if participation == 1 else 1, participation, 1, 1, 1, replace=replace)
    else:
        algorithm = pfl.FedAvg(beta=0.1, local_steps=2, participation=participation, batch=1, replace=replace)
    at = run_of(users, algorithm, alpha=alpha, noise=noise, rounds=1 if alpha else 2)
    short, long = runs.written_out(at), runs.exact_run(at)
    assert short is not None
    for name in ("X2", "M2", "gamma2", "gamma2_steps", "v2"):
        assert close(getattr(short, name), getattr(long, name), 25), name
    assert close(short.first - short.last, long.first - long.last, 25)


def test_a_long_run_has_its_closed_form():
    """Instance I: the formula of section 9.5.1 in 80 digits."""
    at = instance_one.instance(tau=16, rounds=10**9, beta=1e-3, w0=1.0)
    form = instance_one.closed_form(tau=16, rounds=10**9, beta=1e-3, w0=1.0)
    found = runs.exact_run(at)
    assert float(found.X2) == pytest.approx(float(form.X2), rel=1e-14)
    assert float(found.M2) == pytest.approx(float(form.M2), rel=1e-14)


def test_master_bounds_on_one_quadratic():
    """With one user and no noise X* is a quotient: `first_term_reached`."""
    at = theorem_4_5.one_quadratic()
    ruled = {form: referees.referee_of("theorem-4.5")("corrected", form, at) for form in ("M-i", "M-ii")}
    for (_, ruling), ratio in zip(ruled.items(), theorem_4_5.first_term_reached(), strict=True):
        (pair,) = ruling.pairs
        assert pair.ratio == pytest.approx(ratio, rel=1e-9)


def test_largest_solution_is_the_larger_of_two():
    found = master.largest_solution(lambda x: -(x * x - 1) * (x * x - 4), ONE)
    assert close(found, real(2), 30)
    assert master.largest_solution(lambda x: ONE, ONE) == mp.inf


def test_limits_are_called_either_way_within_rounding_only():
    assert at_most(real(1 - 1e-9), ONE) is True
    assert at_most(real(1 + 1e-9), ONE) is False
    assert at_most(real(1 + 2.0**-50), ONE) is None


def test_every_statement_has_a_referee():
    assert referees.names() == claims.names()


@pytest.mark.parametrize("name", claims.names())
def test_referees_agree_on_witnesses_and_named_cases(name):
    """What the package is known to reach, the referee reaches: each form's witness, and its cases that need no data."""
    from pfl_theory.adversary.compare import disagreements
    from pfl_theory.judging.run_steps import ClosedRun

    seen = 0
    for claim in claims.forms(name):
        for case in (claim.case("witness"), *claim.cases):
            if case.needs != "nothing" or case.name in ("logistic", "algorithm-3"):
                continue
            at = case.make()
            if isinstance(at, ClosedRun) or (at.rounds or 0) > 10**30 or getattr(at.algorithm, "local_steps", 1) > 300:
                continue  # runs told by formula, and those that take the referee minutes
            ruling = referees.referee_of(name)(claim.version, claim.form, at)
            assert disagreements(claim.judge(at), ruling) == [], (claim.version, claim.form, case.name)
            seen += bool(ruling.pairs) or ruling.applies is False
    assert seen
