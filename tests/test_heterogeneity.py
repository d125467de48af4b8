"""gamma_G along a run, as a certified or searched supremum, from samples, and by label shift. Statements and values:
docs/theory/heterogeneity.md#5-11.
"""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from pfl_theory import Constant, Federation, Noise, Problem
from pfl_theory.errors import InputError
from pfl_theory.federations import by_class, concept_shift, location
from pfl_theory.losses import Cosine, LeastSquares, LogCosh, Logistic, Quadratic, Softmax, certified
from pfl_theory.losses.certified import by_slope, certified_max
from pfl_theory.problems import (
    class_gradients,
    debiased_gamma_G,
    gamma_along_run,
    gamma_G_by_label_shift,
    gamma_G_slope,
    heterogeneity,
    label_shift_bound,
    search_gamma_G,
    suprema,
    supremum_gamma_G,
)


def logistic(*users):
    """Users given as (x, y) with one feature."""
    return Problem(
        Logistic(), Federation.from_arrays([np.array(x, dtype=float)[:, None] for x, _ in users], [y for _, y in users])
    )


def random_users(rng, d, n=4, m=6, spread=1.0):
    x = [spread * rng.normal(size=d) + rng.normal(size=(m, d)) for _ in range(n)]
    return Federation.from_arrays(x, [rng.integers(0, 2, m) for _ in range(n)])


def cosine_supremum(fed, c):
    """The closed form: gamma_G^2 = c^2 sum_k (mean |delta|^2 + |mean delta^2|)/2 with delta the users' phi_k minus
    their mean.
    """
    phi = np.stack([u.weights @ np.exp(1j * u.points / c) for u in fed])
    delta = phi - phi.mean(0)
    return c * math.sqrt(((np.abs(delta) ** 2).mean(0) + np.abs((delta**2).mean(0))).sum() / 2)


# -- along a run -------------------------------------------------------------------------------------------------------


def test_along_a_run_is_gamma_at_its_points_and_no_constant(rng):
    problem = Problem(Logistic(), random_users(rng, 3))
    points = rng.normal(size=(5, 3))
    here = gamma_along_run(problem, points, alpha=0.3)
    for k, w in enumerate(points):
        g, h, meta = problem.gradient(w), problem.hessian(w), problem.meta_gradient(w, 0.3)
        assert here.gamma_G[k] == pytest.approx(np.sqrt(g.var(0).sum()), rel=1e-12)
        assert here.gamma_F[k] == pytest.approx(np.sqrt(meta.var(0).sum()), rel=1e-12)
        norms = [np.linalg.norm(m, 2) for m in h - h.mean(0)]
        assert here.gamma_H[k] == pytest.approx(np.sqrt(np.mean(np.square(norms))), rel=1e-12)
    assert here.maxima() == {name: getattr(here, name).max() for name in ("gamma_G", "gamma_H", "gamma_F")}
    assert here.label == "along the run"
    assert not isinstance(here, Constant)
    assert not hasattr(here, "bound")


def test_along_a_run_leaves_out_what_was_not_asked_for(rng):
    wide = Problem(Logistic(), random_users(rng, 65))
    here = gamma_along_run(wide, np.zeros((2, 65)))
    assert here.gamma_H is here.gamma_F is None
    assert list(here.maxima()) == ["gamma_G"]
    functions = Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=2, dim=1)
    assert gamma_along_run(functions, [[0.0]]).gamma_H is None
    for points in (np.zeros(65), np.zeros((0, 65)), np.zeros((2, 3))):
        with pytest.raises(InputError, match=r"points has shape .*; give \(k, 65\), one common point a row"):
            gamma_along_run(wide, points)
    with pytest.raises(InputError, match="points contain NaN"):
        gamma_along_run(wide, np.full((1, 65), np.nan))


# -- slope [theory 5.11] -----------------------------------------------------------------------------------------------


def test_slope_is_attained_and_half_of_it_would_be_wrong():
    """L w^2/2 and 0: gamma_G = L|w|/2. Three users 0, 0, L: the slope is sqrt(2)/3 L, below L/2."""
    for curvatures, slope in (([2.0, 0.0], 1.0), ([3.0, 0.0, 0.0], math.sqrt(2))):
        a = np.array(curvatures)[:, None, None]
        problem = Problem(Quadratic(a), Federation.from_arrays([[0.0]] * len(a)))
        claimed = gamma_G_slope(problem)
        assert (claimed.how, claimed.max()) == ("upper", pytest.approx(slope, rel=1e-12))
        steepness = (problem.gamma_G([3.0]) - problem.gamma_G([1.0])) / 2
        assert steepness == pytest.approx(slope, rel=1e-12)
        assert steepness > claimed.max() / 2


@pytest.mark.parametrize(
    "loss",
    [Logistic(), Logistic(nonconvex=0.3), LogCosh(), LogCosh("regression"), Cosine(0.7), Softmax(2), LeastSquares()],
)
def test_gamma_G_never_changes_faster_than_its_slope(loss, rng):
    for d, n in ((1, 2), (2, 3), (3, 6)):
        problem = Problem(loss, random_users(rng, d, n, spread=2.0))
        slope = gamma_G_slope(problem).bound("slope")
        steepest = 0.0
        for scale in 10.0 ** rng.uniform(-1, 1, 40):
            w = scale * rng.normal(size=problem.dim)
            q, steep = suprema.square_and_slope(problem, w)
            g = math.sqrt(q)
            assert g == pytest.approx(problem.gamma_G(w), rel=1e-12)
            v = 1e-4 * steep / np.linalg.norm(steep)
            up, down = problem.gamma_G(w + v), problem.gamma_G(w - v)
            assert (up**2 - down**2) / 2e-4 == pytest.approx(np.linalg.norm(steep), rel=1e-4, abs=1e-7)
            quotient = (up - down) / 2e-4
            steepest = max(steepest, quotient)
            far = w + scale * rng.normal(size=problem.dim)
            assert abs(problem.gamma_G(far) - g) <= slope * np.linalg.norm(far - w) * (1 + 1e-12)
        assert 0.01 * slope < steepest <= slope * (1 + 1e-6)


def test_slope_without_curvature_is_none():
    problem = Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=2, dim=1)
    assert gamma_G_slope(problem).how == "none"


# -- certified maxima --------------------------------------------------------------------------------------------------


def test_certified_max_finds_a_narrow_peak_and_a_wrong_slope_misses_it():
    def spike(p):
        return np.maximum(0.5 - 0.001 * np.abs(p[:, 0]), 1 - 1000 * np.abs(p[:, 0] - 0.12345))

    upper, found, at = certified_max(by_slope(spike, 1000.0), [-1.0], [1.0], tolerance=1e-7)
    assert found <= 1.0 <= upper <= found + 1e-7
    assert at[0] == pytest.approx(0.12345, abs=1e-6)
    assert certified_max(by_slope(spike, 0.01), [-1.0], [1.0], tolerance=1e-7)[0] < 0.6


@pytest.mark.parametrize("d", [1, 2, 3])
def test_certified_max_in_a_box_and_in_a_ball(d):
    """A linear function: the corner of the box, and the farthest point of the ball, which is in no cell's centre."""
    v = np.array([3.0, -2.0, 1.0])[:d]
    tolerance = 1e-3 if d < 3 else 0.3
    upper, found, _ = certified_max(
        by_slope(lambda p: p @ v, np.linalg.norm(v)), -np.ones(d), np.ones(d), tolerance=tolerance
    )
    assert np.abs(v).sum() <= upper <= found + tolerance
    onto = lambda p: suprema.onto_ball(p, np.zeros(d), 1.0)  # noqa: E731
    upper, found, at = certified_max(
        by_slope(lambda p: p @ v, np.linalg.norm(v)), -np.ones(d), np.ones(d), tolerance=tolerance, project=onto
    )
    assert found <= np.linalg.norm(v) * (1 + 1e-12)
    assert np.linalg.norm(v) * (1 - 1e-12) <= upper <= found + tolerance
    assert np.linalg.norm(at) <= 1 + 1e-12


def test_certified_max_that_needs_too_many_cells_stays_valid(monkeypatch):
    monkeypatch.setattr(certified, "MOST_CELLS", 300)
    flat = by_slope(lambda p: np.ones(len(p)), 1.0)
    upper, found, _ = certified_max(flat, [0.0], [1.0], tolerance=1e-9)
    assert found == 1.0
    assert 1 + 1e-9 < upper < 1.01


# -- the supremum, certified [theory 5.11]
# -------------------------------------------------------------------------


def test_logistic_one_and_zero_has_its_supremum_at_minus_infinity():
    problem = logistic(([1.0], [1]), ([0.0], [1]))
    for w, value in ((0.0, 0.25), (-5.0, 0.4966535745), (-20.0, 0.499999999)):
        assert problem.gamma_G([w]) == pytest.approx(value, abs=5e-10)
    sup = supremum_gamma_G(problem, radius=None)
    assert (sup.how, sup.found, sup.at.tolist()) == ("upper", 0.5, [-np.inf])
    assert 0.5 <= sup.max() <= 0.5 + 1e-6
    on_ball = supremum_gamma_G(problem, radius=5.0)
    assert 0.4966535745 - 1e-9 <= on_ball.max() <= 0.4966535745 + 1e-6


def test_logistic_one_and_two_has_its_maximum_inside():
    problem = logistic(([1.0], [1]), ([2.0], [1]))
    sup = supremum_gamma_G(problem, radius=None, tolerance=1e-10)
    assert sup.found == pytest.approx(0.5449899199, abs=1e-10)
    assert sup.found <= sup.max() <= sup.found + 2e-10
    assert sup.at[0] == pytest.approx(-1.6628859, abs=1e-5)
    assert (
        problem.gamma_G([0.0]) < problem.gamma_G([-1e3]) < 0.51 < sup.found
    )  # neither 0 nor infinity is the maximiser
    assert problem.gamma_G([-1e3]) == pytest.approx(0.5, abs=1e-12)
    assert "whole line, tails beyond" in sup.reason


def test_whole_line_against_a_dense_grid(rng):
    """Rows of very different sizes: the tails begin at a hundred thousand, the maximum sits anywhere."""
    grid = np.concatenate([-np.geomspace(1e-3, 1e7, 1500)[::-1], [0.0], np.geomspace(1e-3, 1e7, 1500)])
    for _ in range(5):
        users = [(rng.normal(size=4) * 10.0 ** rng.uniform(-4, 1, 4), rng.integers(0, 2, 4)) for _ in range(3)]
        users.append((np.zeros(2), [0, 1]))
        problem = logistic(*users)
        sup = supremum_gamma_G(problem, radius=None)
        seen = max(problem.gamma_G([w]) for w in grid)
        assert seen <= sup.max() * (1 + 1e-12)
        assert seen >= sup.found - 1e-3 * sup.found
        assert sup.max() - sup.found <= 2e-6
    zeros = logistic((np.zeros(3), [0, 1, 1]), (np.zeros(1), [1]))
    assert supremum_gamma_G(zeros, radius=None).max() < 1e-12


@pytest.mark.parametrize("c", [0.1, 1.0, 3.0])
def test_log_cosh_of_two_points_is_largest_between_them(c):
    problem = Problem(LogCosh(), Federation.from_arrays([[[-c]], [[c]]]))
    sup = supremum_gamma_G(problem, radius=5.0, center=[1.0], tolerance=1e-9)
    assert math.tanh(c) <= sup.max() <= math.tanh(c) + 2e-9
    assert sup.at[0] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("c", "value"), [(0.1, 0.08248234), (0.5, 0.39346934), (1.0, 0.68907496), (2.0, 0.94379203), (4.0, 0.99889549)]
)
def test_log_cosh_of_two_gaussians(c, value):
    """N(+-c, 1/4) by 80 nodes of Gauss and Hermite: gamma_G = E tanh(c + xi/2), at w = 0, below min(c, 2 Phi(2c) -
    1).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    keep = weights > 1e-30
    nodes, weights = nodes[keep], weights[keep] / weights[keep].sum()
    problem = Problem(
        LogCosh(), Federation.from_arrays([sign * c + 0.5 * nodes for sign in (-1, 1)], sample_weight=[weights] * 2)
    )
    sup = supremum_gamma_G(problem, radius=6.0)
    assert problem.gamma_G([0.0]) == pytest.approx(value, abs=1e-8)
    assert value - 1e-8 <= sup.max() <= value + 1e-6 + 1e-8
    assert value <= min(c, math.erf(math.sqrt(2) * c)) + 1e-12


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("c", [1.0, 0.4])
def test_cosine_reaches_its_closed_form(d, c, rng):
    for n in (2, 4):
        fed = random_users(rng, d, n)
        exact = cosine_supremum(fed, c)
        tolerance = 1e-7 if d == 1 else 1e-4
        sup = supremum_gamma_G(
            Problem(Cosine(c), fed), radius=1.01 * math.pi * c * math.sqrt(d), tolerance=tolerance
        )  # holds a whole period
        assert exact <= sup.max() <= exact + 1.1 * tolerance
        assert exact - tolerance <= sup.found <= exact * (1 + 1e-12)


@pytest.mark.parametrize(
    "loss", [Logistic(), Logistic(l2=0.5, nonconvex=0.2), LogCosh(), LogCosh("regression"), LeastSquares()]
)
@pytest.mark.parametrize("d", [1, 2])
def test_balls_against_dense_points(loss, d, rng):
    problem = Problem(loss, random_users(rng, d, 3))
    radius, center = 2.5, np.array([0.5, -1.0])[:d]
    sup = supremum_gamma_G(problem, radius=radius, center=center, tolerance=1e-5)
    away = rng.normal(size=(1500, d))
    away *= radius * rng.uniform(size=(1500, 1)) ** (1 / d) / np.linalg.norm(away, axis=1, keepdims=True)
    away[:200] *= radius / np.linalg.norm(away[:200], axis=1, keepdims=True)  # the sphere
    seen = max(problem.gamma_G(center + v) for v in away)
    assert seen <= sup.max()
    assert seen >= 0.97 * sup.max()
    assert np.linalg.norm(sup.at - center) <= radius * (1 + 1e-12)
    assert problem.gamma_G(sup.at) == pytest.approx(sup.found, rel=1e-12)
    assert sup.max() <= min(sup.found + 2e-5, problem.constants(radius=radius, center=center)["gamma_G"].max())


def test_constant_gamma_G_needs_one_look():
    """One curvature: gamma_H = 0, so the slope is 0 and the bound is the value."""
    problem = Problem(Quadratic(2.0), location(n_users=5, dim=2, heterogeneity=0.7, shared=True))
    sup = supremum_gamma_G(problem, radius=3.0)
    assert sup.max() == pytest.approx(1.4, rel=1e-12)


@pytest.mark.parametrize("with_hvp", [True, False])
def test_functions_with_constants_are_certified_too(with_hvp):
    """sin w and cos w: gamma_G = |cos w + sin w|/2, at most 1/sqrt 2; without Hessians by the slope alone."""
    problem = Problem.from_functions(
        lambda w: np.array([np.sin(w[0, 0]), np.cos(w[1, 0])]),
        lambda w: np.array([np.cos(w[0]), -np.sin(w[1])]),
        (lambda w, v: np.array([-np.sin(w[0]), -np.cos(w[1])]) * v) if with_hvp else None,
        n_users=2,
        dim=1,
        noise=Noise(),
        constants={name: Constant.exact(np.ones(2), "trigonometric") for name in ("B", "L", "rho")},
    )
    sup = supremum_gamma_G(problem, radius=4.0, tolerance=1e-4)
    assert 1 / math.sqrt(2) <= sup.max() <= 1 / math.sqrt(2) + 1e-4


def test_a_wrong_lipschitz_constant_is_noticed(monkeypatch, rng):
    """Negative control: with a hundredth of slope and rho the "bound" falls below values that gamma_G takes."""
    problem = logistic(*[(100 * rng.normal(size=3), rng.integers(0, 2, 3)) for _ in range(3)])
    right = supremum_gamma_G(problem, radius=10.0)
    honest = suprema._logistic_slopes
    monkeypatch.setattr(suprema, "_logistic_slopes", lambda p: lambda w, h: tuple(0.01 * s for s in honest(p)(w, h)))
    monkeypatch.setattr(suprema, "_rounding", lambda *_: 0.0)
    assert supremum_gamma_G(problem, radius=10.0).max() < right.found


def test_supremum_that_needs_too_many_cells_says_so(monkeypatch, rng):
    monkeypatch.setattr(certified, "MOST_CELLS", 10)
    problem = Problem(LeastSquares(), random_users(rng, 2, 3))
    sup = supremum_gamma_G(problem, radius=4.0, tolerance=1e-8)
    assert sup.max() > sup.found + 1e-4
    assert f"{sup.max() - sup.found:.1e} above the value" in sup.reason


def test_supremum_refuses(rng):
    flat = Problem(Logistic(), random_users(rng, 2))
    line = Problem(Logistic(l2=0.1), random_users(rng, 1))
    unknown = Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=2, dim=1)
    for problem, keywords, message in (
        (Problem(Logistic(), random_users(rng, 3)), {"radius": 1.0}, "d = 3; .* use search_gamma_G"),
        (
            flat,
            {"radius": None},
            r"radius = None \(the whole line\) needs Logistic\(\) without penalty and d = 1; give radius=",
        ),
        (line, {"radius": None}, "needs Logistic"),
        (logistic(([1.0], [1]), ([0.0], [1])), {"radius": None, "center": [0.0]}, "a center needs radius="),
        (flat, {"radius": 1.0, "tolerance": 0.0}, "tolerance = 0.0; must be a finite number > 0"),
        (flat, {"radius": -1.0}, "radius = -1.0"),
        (Problem(Logistic(), random_users(rng, 1), "float32"), {"radius": 1.0}, "computes in float32; use float64"),
        (unknown, {"radius": 1.0}, "the Lipschitz constant of gamma_G is not known from above"),
    ):
        with pytest.raises(InputError, match=message):
            supremum_gamma_G(problem, **keywords)


# -- searched ----------------------------------------------------------------------------------------------------------


def test_search_stays_below_what_is_certified_and_comes_near(rng):
    for loss, d in ((Logistic(), 1), (Logistic(), 2), (LogCosh(), 2), (LeastSquares(), 2)):
        problem = Problem(loss, random_users(rng, d, 3))
        certain = supremum_gamma_G(problem, radius=3.0, tolerance=1e-4)
        found = search_gamma_G(problem, starts=6, seed=1, radius=3.0)
        assert certain.max() - 1.1e-4 <= found.max() <= certain.max()
        assert problem.gamma_G(found.at) == pytest.approx(found.max(), rel=1e-12)
        assert np.linalg.norm(found.at) <= 3.0 * (1 + 1e-12)


def test_search_in_many_dimensions_reaches_the_closed_form(rng):
    fed = random_users(rng, 12, 5)
    found = search_gamma_G(Problem(Cosine(), fed), starts=20, seed=3)
    exact = cosine_supremum(fed, 1.0)
    assert 0.999999 * exact <= found.max() <= exact * (1 + 1e-12)


def test_search_is_no_bound_and_repeats_itself(rng):
    problem = Problem(Softmax(2), random_users(rng, 2))
    a, b = (search_gamma_G(problem, starts=3, seed=5, radius=1.0, center=np.ones(4)) for _ in range(2))
    assert np.array_equal(a.values, b.values)
    assert np.array_equal(a.at, b.at)
    assert np.linalg.norm(a.at - 1) <= 1 + 1e-12
    assert a.how == "lower"
    with pytest.raises(InputError, match=r"gamma_G is not known from above \(lower: largest of 3 ascents"):
        a.bound("gamma_G")


def test_search_where_gamma_G_grows_without_end_stops():
    problem = Problem(Quadratic([[[1.0]], [[0.0]]]), Federation.from_arrays([[0.0], [0.0]]))
    assert 1e29 < search_gamma_G(problem, starts=2, seed=0).max() < np.inf
    assert search_gamma_G(problem, starts=2, seed=0, radius=2.0).max() == pytest.approx(1.0, rel=1e-12)


def test_search_refuses():
    problem = Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=2, dim=1)
    with pytest.raises(InputError, match="needs Hessian-vector products"):
        search_gamma_G(problem, starts=1, seed=0)
    good = logistic(([1.0], [1]), ([0.0], [1]))
    for keywords, message in (
        ({"starts": 0}, "starts = 0"),
        ({"starts": 1, "radius": np.inf}, "radius = inf"),
        ({"starts": 1, "seed": -1}, "seed = -1"),
    ):
        with pytest.raises(InputError, match=message):
            search_gamma_G(good, **{"seed": 0, **keywords})


# -- from samples [theory 5.12]
# ------------------------------------------------------------------------------------------------


def sampled(z, loss=None):
    """A problem from samples z (list of (m_i, d)); quadratic unless told: the gradient of a row at w = 0 is minus the
    row.
    """
    fed = Federation.from_arrays(z, law="sample")
    return Problem(loss or Quadratic(), fed)


def brute(g):
    """The U-statistic straight from its definition: pairs of rows of one user, and of two users; g is a list of (m_i,
    d).
    """
    n, total = len(g), 0.0
    for i, k in itertools.product(range(n), repeat=2):
        products = g[i] @ g[k].T
        if i == k:
            m = len(g[i])
            total += (1 - 1 / n) / n * (products.sum() - np.trace(products)) / (m * (m - 1))
        else:
            total -= products.mean() / n**2
    return total


def test_debiased_is_the_u_statistic_and_its_error_a_jackknife(rng):
    g = [rng.normal(size=d) + rng.normal(size=(m, 3)) for m, d in ((4, 3), (7, 3), (9, 3))]
    e = debiased_gamma_G(sampled([-z for z in g]), np.zeros(3))
    assert e.debiased == pytest.approx(brute(g), rel=1e-12)
    assert e.debiased == pytest.approx(e.plug_in - e.floor, rel=1e-12)
    jackknife = 0.0
    for i, user in enumerate(g):
        m = len(user)
        values = np.array([brute([*g[:i], np.delete(user, j, axis=0), *g[i + 1 :]]) for j in range(m)])
        jackknife += (m - 1) / m * ((values - values.mean()) ** 2).sum()
    means = np.array([u.mean(0) for u in g])
    linear = (
        4
        / 9
        * sum(
            (((u - a) @ (a - means.mean(0))) ** 2).sum() / (len(u) * (len(u) - 1))
            for u, a in zip(g, means, strict=True)
        )
    )
    assert e.standard_error == pytest.approx(math.sqrt(min(jackknife, linear)), rel=1e-10)
    # the interval solves its equation at both ends
    z, ratio = 1.959963984540054, e.standard_error**2 / e.plug_in
    for t in (e.lower, e.upper):
        assert (e.plug_in - t - e.floor) ** 2 == pytest.approx(z**2 * ratio * (t + e.floor), rel=1e-9)
    assert e.lower < e.debiased < e.upper


def test_debiased_is_unbiased_by_enumeration():
    """All samples of two users with two and three rows from laws on two points, with their probabilities."""
    points, laws, sizes = np.array([[0.0, 1.0], [2.0, -1.0]]), ([0.3, 0.7], [0.8, 0.2]), (2, 3)
    exact = Problem(LogCosh(), Federation.from_arrays([points] * 2, sample_weight=laws)).gamma_G([0.5, 0.0]) ** 2
    mean = plug_in = 0.0
    for choice in itertools.product(range(2), repeat=sum(sizes)):
        first, second = np.split(np.array(choice), [sizes[0]])
        chance = np.prod(np.take(laws[0], first)) * np.prod(np.take(laws[1], second))
        e = debiased_gamma_G(sampled([points[first], points[second]], LogCosh()), [0.5, 0.0])
        mean, plug_in = mean + chance * e.debiased, plug_in + chance * e.plug_in
    assert mean == pytest.approx(exact, rel=1e-12)
    assert plug_in > 1.5 * exact  # the plug-in is not


def coverage(centres, m, repetitions=300, d=4):
    rng, n = np.random.default_rng(8), len(centres)
    exact = ((centres - centres.mean(0)) ** 2).sum(1).mean()
    found = [
        debiased_gamma_G(sampled(list(centres[:, None] + rng.normal(size=(n, m, d)))), np.zeros(d))
        for _ in range(repetitions)
    ]
    inside = np.mean([e.lower <= exact <= e.upper for e in found])
    around_plug_in = np.mean([abs(e.plug_in - exact) <= (e.upper - e.lower) / 2 for e in found])
    return exact, np.array([e.debiased for e in found]), np.array([e.plug_in for e in found]), inside, around_plug_in


def test_debiased_covers_at_its_level():
    """300 samples of 20 rows: the standard error of a coverage of 0.95 is 0.0126."""
    centres = np.random.default_rng(0).normal(size=(5, 4))
    exact, debiased, plug_in, inside, around_plug_in = coverage(centres, 20)
    assert abs(debiased.mean() - exact) < 4 * debiased.std() / math.sqrt(300)
    assert plug_in.mean() - exact == pytest.approx(0.8 * 4 / 20, rel=0.3)
    assert abs(inside - 0.95) < 3 * 0.0126
    assert around_plug_in < inside  # negative control: not corrected, it covers less


def test_debiased_at_identical_laws_is_negative_half_of_the_time():
    exact, debiased, plug_in, inside, around_plug_in = coverage(np.zeros((5, 4)), 20)
    assert exact == 0.0
    assert 0.3 < (debiased < 0).mean() < 0.8
    assert abs(debiased.mean()) < 4 * debiased.std() / math.sqrt(300)
    assert inside > 0.95 - 3 * 0.0126  # conservative here
    assert plug_in.min() > 0
    assert around_plug_in < 0.9


def test_debiased_in_blocks_on_other_losses_and_scales(monkeypatch, rng):
    x = rng.integers(0, 256, (40, 3), dtype=np.uint8)
    fed = Federation.from_arrays(
        x, rng.integers(0, 3, 40), groups=np.repeat(np.arange(4), 10), scale=1 / 255, law="sample"
    )
    problem, w = Problem(Softmax(3), fed), rng.normal(size=9)
    whole = debiased_gamma_G(problem, w, level=0.9)
    monkeypatch.setattr(heterogeneity, "TOGETHER", 30)  # three rows at a time
    assert debiased_gamma_G(problem, w, level=0.9).standard_error == pytest.approx(whole.standard_error, rel=1e-12)
    p = np.exp(x / 255 @ w.reshape(3, 3).T)
    residual = p / p.sum(1, keepdims=True) - np.eye(3)[fed.y]
    g = np.einsum("kc,kj->kcj", residual, x / 255).reshape(4, 10, 9)
    assert whole.debiased == pytest.approx(brute(list(g)), rel=1e-10)
    narrower, wider = whole.upper - whole.lower, debiased_gamma_G(problem, w, level=0.99)
    assert narrower < wider.upper - wider.lower


def test_debiased_holds_no_more_than_blocks(rng):
    """3,000 rows of a softmax with 7,840 weights: all gradients at once would be 188 MB."""
    x = rng.integers(0, 256, (3000, 784), dtype=np.uint8)
    fed = Federation.from_arrays(
        x, rng.integers(0, 10, 3000), groups=np.repeat(np.arange(3), 1000), scale=1 / 255, law="sample"
    )
    problem = Problem(Softmax(10), fed)
    debiased_gamma_G(Problem(Softmax(10), fed.select([0])), np.zeros(7840))  # compiled
    tracemalloc.start()
    e = debiased_gamma_G(problem, np.zeros(7840))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert e.lower < 0.0 < e.upper  # labels and pixels without any difference between users


def test_debiased_of_one_user_or_equal_samples_is_zero_at_most(rng):
    z = rng.normal(size=(5, 2))
    alone = debiased_gamma_G(sampled([z]), [0.0, 0.0])
    assert (alone.debiased, alone.lower, alone.upper) == (0.0, 0.0, 0.0)
    twice = debiased_gamma_G(sampled([z, z]), [0.0, 0.0])
    assert twice.plug_in == 0.0
    assert twice.lower == twice.upper == twice.debiased < 0


def test_debiased_refuses(rng):
    z = [rng.normal(size=(3, 1)) for _ in range(2)]
    exact = Problem(Quadratic(), Federation.from_arrays(z))
    weighted = Problem(
        Quadratic(), Federation.from_arrays(z, sample_weight=[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], law="sample")
    )
    for problem, w, level, message in (
        (exact, [0.0], 0.95, r"law='exact'\) and carry no noise of sampling; use problem.gamma_G"),
        (weighted, [0.0], 0.95, "different weights; it needs plain samples"),
        (sampled([z[0], z[1][:1]]), [0.0], 0.95, "user 1 has one row; a variance needs two"),
        (
            Problem(Quadratic([[[1.0]], [[2.0]]]), sampled(z).federation),
            [0.0],
            0.95,
            "users have a Quadratic of their own",
        ),
        (sampled(z), [0.0, 1.0], 0.95, r"w has shape \(2,\); give one common point, \(1,\)"),
        (sampled(z), [0.0], 95, "level = 95; must be between 0 and 1"),
        (Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=2, dim=1), [0.0], 0.95, "has no federation"),
    ):
        with pytest.raises(InputError, match=message):
            debiased_gamma_G(problem, w, level=level)


# -- label shift [theory 5.13]
# --------------------------------------------------------------------------------------------


def label_shift(rng, n=4, classes=(0, 2, 5), m=3, d=2):
    """Users that mix the same class laws, each with its own shares; the second never sees the last class."""
    x = rng.normal(size=(len(classes) * m, d)) + np.repeat(rng.normal(size=(len(classes), d)), m, axis=0)
    inside = np.concatenate([rng.dirichlet(np.ones(m)) for _ in classes])
    shares = rng.dirichlet(np.ones(len(classes)), n)
    shares[1] = [0.3, 0.7, 0.0]
    weights = [np.repeat(s, m) * inside for s in shares]
    return Federation.from_arrays([x] * n, [np.repeat(classes, m)] * n, sample_weight=weights), shares


@pytest.mark.parametrize("loss", [Softmax(6), LogCosh("regression"), Softmax(6, l2=0.3)])
def test_label_shift_is_exact(loss, rng):
    fed, shares = label_shift(rng)
    problem = Problem(loss, fed)
    laws = by_class(fed)[1]
    assert np.allclose(laws, shares, atol=1e-14)
    for w in rng.normal(size=(4, problem.dim)):
        gradients = class_gradients(problem, w)
        value = gamma_G_by_label_shift(gradients, laws)
        assert value == pytest.approx(problem.gamma_G(w), rel=1e-10)
        away = laws - laws.mean(0)
        assert value**2 == pytest.approx(
            (away.T @ away / len(laws) * (gradients @ gradients.T)).sum(), rel=1e-10
        )  # <S, K>
        bound = label_shift_bound(gradients, laws)
        diameter = max(np.linalg.norm(a - b) for a, b in itertools.combinations(gradients, 2))
        assert bound**2 == pytest.approx(diameter**2 * ((np.abs(away).sum(1) / 2) ** 2).mean(), rel=1e-12)
        assert value <= bound * (1 + 1e-12)


def test_label_shift_bound_is_attained_by_two_classes_and_not_by_a_tenth_less(rng):
    laws = rng.dirichlet(np.ones(2), 6)
    gradients = rng.normal(size=(2, 5))
    value, bound = gamma_G_by_label_shift(gradients, laws), label_shift_bound(gradients, laws)
    assert value == pytest.approx(bound, rel=1e-12)
    assert value > 0.9 * bound


def test_label_shift_of_the_papers_split():
    """M = 0.40 with TV 0.4 and 0.8; orthonormal class gradients have diameter sqrt 2."""
    laws = np.zeros((50, 10))
    laws[:25, :5] = 0.2
    for j in range(25):
        laws[25 + j, j % 5], laws[25 + j, 5 + j % 5] = 0.2, 0.8
    assert label_shift_bound(np.eye(10), laws) ** 2 == pytest.approx(2 * 0.40, rel=1e-12)
    assert gamma_G_by_label_shift(np.eye(10), laws) ** 2 == pytest.approx(
        ((laws - laws.mean(0)) ** 2).sum(1).mean(), rel=1e-12
    )
    same = gamma_G_by_label_shift(np.eye(10) + 1e8, laws)  # a common part of all gradients changes nothing
    assert same == pytest.approx(gamma_G_by_label_shift(np.eye(10), laws), rel=1e-6)


def test_concept_shift_is_no_label_shift():
    """Negative control: where the laws given the label differ, the formula is not gamma_G."""
    fed = concept_shift(n_users=4, dim=2, size=6, shift=0.9)
    problem = Problem(Logistic(), fed)
    assert gamma_G_by_label_shift(class_gradients(problem, [1.0, 0.0]), by_class(fed)[1]) < 0.9 * problem.gamma_G(
        [1.0, 0.0]
    )


def test_class_gradients_by_hand(rng):
    fed, _ = label_shift(rng)
    problem, w = Problem(Softmax(6), fed), rng.normal(size=12)
    single = Problem(Softmax(6), Federation(fed.x, fed.y, np.ones(len(fed.x)), np.arange(len(fed.x) + 1))).gradient(w)
    for got, label in zip(class_gradients(problem, w), (0, 2, 5), strict=True):
        mine = fed.weights * (fed.y == label)
        assert np.allclose(got, mine @ single / mine.sum(), rtol=1e-12, atol=1e-14)


def test_label_shift_refuses(rng):
    unlabelled = Problem(LogCosh(), Federation.from_arrays([[0.0], [1.0]]))
    idle = Federation.from_arrays([[0.0, 1.0]], [[0, 1]], sample_weight=[[1.0, 0.0]])
    own = Problem(Quadratic([[[1.0]], [[2.0]]]), Federation.from_arrays([[0.0], [1.0]], [[0], [1]]))
    for call, message in (
        (lambda: class_gradients(unlabelled, [0.0]), "arrays has no class labels"),
        (lambda: by_class(unlabelled.federation), "arrays has no class labels"),
        (lambda: class_gradients(own, [0.0]), "users have a Quadratic of their own"),
        (lambda: class_gradients(Problem(Logistic(), idle), [0.0, 0.0]), r"w has shape \(2,\)"),
        (
            lambda: gamma_G_by_label_shift(np.eye(3), np.full((2, 2), 0.5)),
            r"class_gradients has shape \(3, 3\) and label_laws \(2, 2\)",
        ),
        (
            lambda: gamma_G_by_label_shift(np.eye(2), [[0.5, 0.6]]),
            "label_laws: every row must be nonnegative and sum to 1",
        ),
        (lambda: label_shift_bound([[np.nan], [0.0]], [[0.5, 0.5]]), "class_gradients contain NaN"),
    ):
        with pytest.raises(InputError, match=message):
            call()
