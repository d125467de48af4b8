"""W1 against other solvers, exact arithmetic, closed forms and the laws of a distance; certificates, plans, potentials;
bad input, bad solvers.

References: docs/theory/distances.md#8-2.
"""

from __future__ import annotations

import importlib
import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog

from pfl_theory import Federation, Measure
from pfl_theory.distances import SolverError, all_pairs, costs, support, to_average, total_variation, wasserstein
from pfl_theory.errors import InputError
from pfl_theory.federations import concept_shift_from_laws

MODULE = importlib.import_module(
    "pfl_theory.distances.wasserstein"
)  # the package's attribute of this name is the function
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def products(monkeypatch):
    """Distances by products of matrices beyond 32 features, also in small problems."""
    monkeypatch.setattr(costs, "DIRECT_WORK", 0)


def euclid(x, y):
    """Distances from the definition."""
    return np.sqrt(((np.asarray(x, float)[:, None] - np.asarray(y, float)) ** 2).sum(2))


def labelled(p, q, kappa):
    return euclid(p.points, q.points) + kappa * (p.labels[:, None] != q.labels)


def by_linear_program(p, q, c):
    """The linear program as it stands, common mass and all, by HiGHS."""
    m, n = c.shape
    a = np.zeros((m + n, m * n))
    for i in range(m):
        a[i, i * n : (i + 1) * n] = 1
    for j in range(n):
        a[m + j, j::n] = 1
    return linprog(c.ravel(), A_eq=a, b_eq=np.concatenate([p.weights, q.weights]), method="highs").fun


def random_measure(rng, m, d, weights="uniform", labels=None, spread=1.0):
    w = {"uniform": np.full(m, 1 / m), "dirichlet": rng.dirichlet(np.ones(m))}[weights]
    return Measure(spread * rng.normal(size=(m, d)), None if labels is None else rng.integers(0, labels, m), w)


def near(found, value, rel=1e-9, absolute=1e-12):
    """Both ends."""
    assert found.lower == pytest.approx(value, rel=rel, abs=absolute)
    assert found.upper == pytest.approx(value, rel=rel, abs=absolute)
    assert found.lower <= found.upper


# --- other solvers ---


@pytest.mark.parametrize("weights", ["uniform", "dirichlet"])
def test_one_dimension_against_scipy(weights, rng):
    for m, n in [(1, 1), (1, 5), (2, 2), (7, 7), (30, 50), (400, 300)]:
        p, q = random_measure(rng, m, 1, weights), random_measure(rng, n, 1, weights, spread=2.0)
        found = wasserstein(p, q)
        assert found.method == "line"
        near(found, stats.wasserstein_distance(p.points[:, 0], q.points[:, 0], p.weights, q.weights), rel=1e-10)


@pytest.mark.skipif(not hasattr(stats, "wasserstein_distance_nd"), reason="needs scipy 1.13")
@pytest.mark.parametrize("d", [2, 3, 40])
def test_against_scipy_in_more_dimensions(d, rng):
    for m, n in [(1, 4), (6, 6), (9, 12)]:
        p, q = random_measure(rng, m, d, "dirichlet"), random_measure(rng, n, d)
        near(wasserstein(p, q), stats.wasserstein_distance_nd(p.points, q.points, p.weights, q.weights), rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_against_highs(seed):
    """To 1e-6 only: the tolerance of HiGHS is 1e-7."""
    rng = np.random.default_rng(seed)
    m, n, d = rng.integers(1, 20), rng.integers(1, 20), rng.choice([1, 2, 5, 33])
    p, q = (random_measure(rng, k, d, w, labels=2) for k, w in ((m, "dirichlet"), (n, "uniform")))
    near(wasserstein(p, q), by_linear_program(p, q, euclid(p.points, q.points)), rel=1e-6)
    near(wasserstein(p, q, kappa=0.7), by_linear_program(p, q, labelled(p, q, 0.7)), rel=1e-6)
    taxicab = wasserstein(p, q, metric=lambda x, y: np.abs(x[:, None] - y).sum(2))
    near(taxicab, by_linear_program(p, q, np.abs(p.points[:, None] - q.points).sum(2)), rel=1e-6)


@pytest.mark.parametrize(
    ("m", "n", "d"), [(1, 1, 2), (1, 30, 3), (25, 1, 3), (40, 60, 2), (200, 200, 10), (50, 300, 100)]
)
@pytest.mark.usefixtures("products")
def test_against_the_solver_itself(m, n, d, rng):
    p, q = random_measure(rng, m, d), random_measure(rng, n, d)
    near(
        wasserstein(p, q),
        ot.emd2(p.weights, q.weights, euclid(p.points, q.points), numItermax=10**9),
        rel=1e-9 if d > 32 else 1e-12,
    )


# --- exact arithmetic: the two ends hold the true value between them ---


def exact_on_the_line(p, q, weights_p, weights_q, scale=1):
    """int |F - G| in fractions; floats are binary fractions."""
    jumps = {}
    for points, weights, sign in ((p, weights_p, 1), (q, weights_q, -1)):
        for x, w in zip(points, weights, strict=True):
            jumps[Fraction(x) * scale] = jumps.get(Fraction(x) * scale, 0) + sign * w
    total, ahead = Fraction(0), Fraction(0)
    for here, there in itertools.pairwise(sorted(jumps)):
        ahead += jumps[here]
        total += abs(ahead) * (there - here)
    return total


@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (1e8, 1.0), (-3e5, 1e-3), (0.0, 1e12), (0.0, 1e-12)])
def test_the_ends_are_certified_on_the_line(offset, spread):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 30, 2)
        x, y = (offset + spread * rng.normal(size=k) for k in (m, n))
        units = rng.integers(1, 9, m)
        p, q = Measure(x, weights=units / units.sum()), Measure(y)
        exact = exact_on_the_line(
            x.tolist(), y.tolist(), [Fraction(int(u), int(units.sum())) for u in units], [Fraction(1, int(n))] * n
        )
        found = wasserstein(p, q)
        assert Fraction(found.lower) <= exact <= Fraction(found.upper)
        assert found.gap <= 1e-9 * found.upper


@pytest.mark.parametrize(
    ("d", "offset", "spread"),
    [(2, 0.0, 1.0), (3, 1e6, 1.0), (40, 0.0, 1.0), (40, 1e3, 1e-3), (5, 0.0, 1e-9), (50, 0.0, 1e9)],
)
@pytest.mark.parametrize("kappa", [None, 0.3])
@pytest.mark.parametrize("work", [costs.DIRECT_WORK, 0])
def test_the_ends_are_certified_in_more_dimensions(monkeypatch, d, offset, spread, kappa, work):
    """All assignments of five points, distances to fifty digits; by differences, and beyond 32 features by products of
    matrices.
    """
    if not work and d <= costs.DIRECT:
        return
    monkeypatch.setattr(costs, "DIRECT_WORK", work)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        p, q = (Measure(offset + spread * rng.normal(size=(5, d)), rng.integers(0, 2, 5)) for _ in range(2))
        with localcontext() as context:
            context.prec = 50
            c = [
                [
                    sum((Decimal(float(a)) - Decimal(float(b))) ** 2 for a, b in zip(x, y, strict=True)).sqrt()
                    + (Decimal(kappa) * int(s != t) if kappa else 0)
                    for y, t in zip(q.points, q.labels, strict=True)
                ]
                for x, s in zip(p.points, p.labels, strict=True)
            ]
            exact = min(sum(c[i][j] for i, j in enumerate(order)) for order in itertools.permutations(range(5))) / 5
            found = wasserstein(p, q, kappa=kappa)
            assert Decimal(found.lower) <= exact <= Decimal(found.upper)
        assert found.gap <= 1e-9 * found.upper
        assert found.closed


def test_weights_that_are_not_fractions_are_allowed_for():
    """They are rounded to multiples of 2^-46; the ends move apart by what this may cost."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(2, 40, 2)
        x, y, a, b = rng.normal(size=m), rng.normal(size=n), rng.dirichlet(np.full(m, 0.3)), rng.dirichlet(np.ones(n))
        shares = [[Fraction(w) / sum(map(Fraction, weights.tolist())) for w in weights.tolist()] for weights in (a, b)]
        exact = exact_on_the_line(x.tolist(), y.tolist(), *shares)
        found = wasserstein(Measure(x, weights=a), Measure(y, weights=b))
        assert Fraction(found.lower) <= exact <= Fraction(found.upper)
        plane = wasserstein(
            Measure(np.column_stack([x, 0 * x]), weights=a), Measure(np.column_stack([y, 0 * y]), weights=b)
        )
        assert plane.method == "dense"
        assert Fraction(plane.lower) <= exact <= Fraction(plane.upper)
        assert max(found.gap, plane.gap) <= 1e-10


def test_a_speck_of_mass():
    p, q = Measure([[0.0, 0.0], [1e3, 0.0]], weights=[1 - 1e-15, 1e-15]), Measure([[0.0, 0.0], [0.0, 3.0]])
    found = wasserstein(p, q)
    assert found.lower <= 1.5 + 1e-12 <= found.upper + 1e-12
    assert found.gap < 1e-10


# --- closed forms ---


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ((0, 1), (1.3, 1), 1.3),
        ((0, 1), (0.7, 2), 0.9857587536),
        ((-1, 0.5), (1, 0.6), 2.0),
        ((0, 1), (0, 3), 1.595769122),
    ],
)
def test_normal_laws(first, second, value):
    """Quantile grids converge to S sqrt(2/pi) exp(-D^2/(2S^2)) + D (1 - 2 Phi(-D/S)), or D for S = 0."""
    distance, spread = abs(first[0] - second[0]), abs(first[1] - second[1])
    closed = distance
    if spread:
        r = distance / spread
        closed = spread * math.sqrt(2 / math.pi) * math.exp(-(r**2) / 2) + distance * (1 - 2 * stats.norm.cdf(-r))
    assert closed == pytest.approx(value, abs=1e-9)
    errors = []
    for k in (100, 1000, 10_000):
        u = (np.arange(k) + 0.5) / k
        errors.append(abs(wasserstein(*(Measure(stats.norm.ppf(u, *law)) for law in (first, second))).upper - closed))
    assert errors[2] < 1e-3
    assert errors[1] <= 0.2 * errors[0] + 1e-12
    assert errors[2] <= 0.2 * errors[1] + 1e-12


@pytest.mark.parametrize(
    ("kappa", "value"),
    [(1.0, 0.25), (2.0, 0.5), (math.sqrt(5), 0.5590169944), (4.0, 0.6472135955), (10.0, 0.9472135955)],
)
def test_concept_shift(kappa, value):
    """Two features with kappa TV while a label is cheaper than the way between them; user to average."""
    fed = concept_shift_from_laws([[1.0, 0.0], [0.0, 2.0]], [[0.9, 0.2], [0.3, 0.6]])
    found = to_average(fed, kappa=kappa)
    for i in range(2):
        assert found.average_lower[i] == pytest.approx(value, abs=1e-10)
        assert found.average_upper[i] == pytest.approx(value, abs=1e-10)
        near(wasserstein(fed[i], fed.mixture(), kappa=kappa), value, absolute=1e-10)
    tv = total_variation(fed[0], fed.mixture())
    assert tv == pytest.approx(0.25, abs=1e-15)
    assert (abs(value - kappa * tv) < 1e-9) == (kappa <= math.sqrt(5) + 1e-12)
    assert wasserstein(fed[0], fed[1]).upper <= 1e-15, "without labels the users are equal"


def test_references():
    p, q = [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]
    line = wasserstein(Measure([0.0, 1.0, 3.0, 7.0], weights=p), Measure([0.0, 1.0, 3.0, 7.0], weights=q))
    near(line, 2.3, rel=1e-14)
    corners = [[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]]
    rectangle = wasserstein(Measure(corners, weights=p), Measure(corners, weights=q))
    near(rectangle, 1.8, rel=1e-13)
    assert (line.tv, rectangle.tv, line.method, rectangle.method) == (0.4, 0.4, "line", "dense")
    assert float(line) == line.upper


# --- the laws of W1 ---

COORDINATES = st.integers(-3, 3)


@st.composite
def measures(draw, d=None, labels=False, most=6):
    """Few points on a grid, weights in whole units: duplicates, common points and points without weight come by
    themselves.
    """
    d = draw(st.integers(1, 3)) if d is None else d
    m = draw(st.integers(1, most))
    x = np.array(draw(st.lists(st.lists(COORDINATES, min_size=d, max_size=d), min_size=m, max_size=m)), float)
    units = np.array(draw(st.lists(st.integers(0, 5), min_size=m, max_size=m).filter(any)))
    y = np.array(draw(st.lists(st.integers(0, 2), min_size=m, max_size=m))) if labels else None
    return Measure(x, y, units / units.sum())


def mixed(share, p, q):
    return Measure(
        np.concatenate([p.points, q.points]), weights=np.concatenate([share * p.weights, (1 - share) * q.weights])
    )


def moved(p, by):
    return Measure(by(p.points), p.labels, p.weights)


SHARES = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0])
TINY = 1e-11


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_symmetry_triangle_and_bounds(data, d):
    p, q, r = (data.draw(measures(d)) for _ in range(3))
    pq, qp, qr, pr = wasserstein(p, q), wasserstein(q, p), wasserstein(q, r), wasserstein(p, r)
    near(qp, pq.upper, absolute=TINY)
    assert pr.lower <= pq.upper + qr.upper + TINY
    assert pq.tv == float(total_variation(p, q))
    c = euclid(
        np.concatenate([p.points[p.weights > 0], q.points[q.weights > 0]]),
        np.concatenate([p.points[p.weights > 0], q.points[q.weights > 0]]),
    )
    assert pq.lower <= c.max() * pq.tv + TINY
    if pq.tv:
        assert pq.upper >= c[c > 0].min() * pq.tv - TINY
    assert np.linalg.norm(p.mean() - q.mean()) <= pq.upper + TINY
    assert 0 <= pq.lower <= pq.upper
    assert pq.closed


@settings(max_examples=40, deadline=None)
@given(st.data(), measures(), st.sampled_from([None, 0.5]))
def test_equal_measures_are_at_distance_zero_without_a_solver(data, p, kappa):
    """Shuffled, cut into pieces, with points without weight added."""
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(p), max_size=len(p))))
    order = np.array(data.draw(st.permutations(range(2 * len(p)))))
    twice, y = np.concatenate([p.points, p.points]), np.concatenate([labels, labels])
    weights = np.concatenate([0.25 * p.weights, 0.75 * p.weights])
    again = Measure(
        np.concatenate([twice[order], np.full((1, p.points.shape[1]), 99.0)]),
        np.append(y[order], 5),
        np.append(weights[order], 0.0),
    )
    found = wasserstein(Measure(p.points, labels, p.weights), again, kappa=kappa)
    assert 0 <= found.lower <= found.upper <= 100 * 1e-15, "0.25 w and 0.75 w are rounded"
    assert found.tv <= 1e-15
    if np.ptp(p.weights) == 0:  # nothing is rounded
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ot, "emd", None)
            halves = Measure(twice[order], y[order])
            found = wasserstein(Measure(p.points, labels, p.weights), halves, kappa=kappa)
        assert (found.method, found.lower, found.upper, found.tv, found.gap) == ("equal", 0.0, 0.0, 0.0, 0.0)
        again = halves
    assert found.plan.toarray().sum(1) == pytest.approx(p.weights, abs=1e-15)
    away = euclid(p.points, again.points)[found.plan.row, found.plan.col]
    assert found.plan.data[away > 0].sum() <= 1e-15


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 3), st.sampled_from([1e-6, 0.3, 7.0, 1e5]))
def test_scaling_and_translation(data, d, factor):
    p, q = data.draw(measures(d)), data.draw(measures(d))
    shift = np.array(data.draw(st.lists(COORDINATES, min_size=d, max_size=d)), float)
    found = wasserstein(p, q)
    near(
        wasserstein(moved(p, lambda x: factor * x), moved(q, lambda x: factor * x)),
        factor * found.upper,
        absolute=TINY * factor,
    )
    near(wasserstein(moved(p, lambda x: x + shift), moved(q, lambda x: x + shift)), found.upper, absolute=TINY)
    near(wasserstein(p, moved(p, lambda x: x + shift)), float(np.linalg.norm(shift)), absolute=TINY)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 3), SHARES)
def test_convexity_and_mixing(data, d, share):
    p, q, r, s = (data.draw(measures(d)) for _ in range(4))
    both = wasserstein(mixed(share, p, r), mixed(share, q, s))
    assert both.lower <= share * wasserstein(p, q).upper + (1 - share) * wasserstein(r, s).upper + TINY
    near(wasserstein(mixed(share, p, r), mixed(share, q, r)), share * wasserstein(p, q).upper, absolute=TINY)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 2), st.integers(2, 4))
def test_average_against_the_average_of_the_others(data, d, n):
    users = [data.draw(measures(d, most=4)) for _ in range(n)]
    points, weights = np.concatenate([u.points for u in users]), np.concatenate([u.weights / n for u in users])
    others = Measure(
        np.concatenate([u.points for u in users[1:]]), weights=np.concatenate([u.weights / (n - 1) for u in users[1:]])
    )
    near(
        wasserstein(users[0], Measure(points, weights=weights)),
        (1 - 1 / n) * wasserstein(users[0], others).upper,
        absolute=TINY,
    )


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_contraction_under_lipschitz_maps(data, d):
    p, q = data.draw(measures(d)), data.draw(measures(d))
    matrix = np.array(data.draw(st.lists(st.lists(COORDINATES, min_size=d, max_size=d), min_size=2, max_size=2)), float)
    norm = max(np.linalg.norm(matrix, 2), 1e-9)
    found = wasserstein(p, q)
    for by in (
        lambda x: x @ matrix.T / norm,
        np.abs,
        lambda x: np.clip(x, -1, 1),
        lambda x: x[:, :1],
        lambda x: np.sort(x, axis=1),
    ):
        assert wasserstein(moved(p, by), moved(q, by)).lower <= found.upper + TINY


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_discrete_metric_is_total_variation(data):
    k = data.draw(st.integers(1, 6))
    units = [np.array(data.draw(st.lists(st.integers(0, 5), min_size=k, max_size=k).filter(any))) for _ in range(2)]
    p, q = (Measure(np.arange(k), weights=u / u.sum()) for u in units)
    found = wasserstein(p, q, metric=1 - np.eye(k))
    near(found, float(total_variation(p, q)), rel=1e-12)
    exact = (
        sum(
            abs(Fraction(int(a), int(units[0].sum())) - Fraction(int(b), int(units[1].sum())))
            for a, b in zip(*units, strict=True)
        )
        / 2
    )
    assert found.tv == float(exact)
    assert Fraction(found.lower) <= exact <= Fraction(found.upper)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([0.1, 1.0, 5.0]))
def test_laws_of_the_labelled_metric(data, kappa):
    p, q = data.draw(measures(2, labels=True)), data.draw(measures(2, labels=True))
    plain, found, dearer = wasserstein(p, q), wasserstein(p, q, "labelled", kappa), wasserstein(p, q, kappa=2 * kappa)
    near(wasserstein(q, p, kappa=kappa), found.upper, absolute=TINY)
    assert plain.lower <= found.upper + TINY
    assert found.lower <= dearer.upper + TINY, "monotone in kappa"
    assert dearer.lower <= 2 * found.upper + TINY, "and concave"
    assert found.lower <= plain.upper + kappa + TINY
    near(found, by_linear_program(p, q, labelled(p, q, kappa)), rel=1e-6, absolute=1e-6)
    shares = [np.bincount(m.labels, m.weights, 3) for m in (p, q)]
    assert found.upper >= kappa * np.abs(shares[0] - shares[1]).sum() / 2 - TINY, "labels alone"


# --- plans and potentials ---

PAIRS = {
    "line": lambda rng: (random_measure(rng, 30, 1), random_measure(rng, 20, 1, "dirichlet"), {}),
    "dense": lambda rng: (random_measure(rng, 30, 3), random_measure(rng, 20, 3, "dirichlet"), {}),
    "many features": lambda rng: (random_measure(rng, 15, 50), random_measure(rng, 20, 50), {}),
    "one point": lambda rng: (random_measure(rng, 1, 3), random_measure(rng, 20, 3), {}),
    "labels": lambda rng: (random_measure(rng, 30, 2, labels=3), random_measure(rng, 20, 2, labels=3), {"kappa": 0.8}),
    "grid": lambda rng: (Measure(rng.integers(0, 4, (40, 2))), Measure(rng.integers(0, 4, (25, 2)) + 1), {}),
    "pixels": lambda rng: (
        Measure(rng.integers(0, 256, (12, 60)) / 255.0),
        Measure(rng.integers(0, 256, (17, 60)) / 255.0),
        {},
    ),
    "matrix": lambda rng: (
        Measure(np.arange(9), weights=rng.dirichlet(np.ones(9))),
        Measure(np.arange(4, 12)),
        {"metric": (lambda x: euclid(x, x))(rng.normal(size=(12, 3)))},
    ),
    "function": lambda rng: (
        random_measure(rng, 14, 3),
        random_measure(rng, 9, 3, "dirichlet"),
        {"metric": lambda x, y: np.abs(x[:, None] - y).max(2)},
    ),
    "sparse": lambda rng: (random_measure(rng, 60, 4), random_measure(rng, 80, 4), {}),
}


@pytest.fixture(params=sorted(PAIRS))
def solved(request, rng, monkeypatch):
    if request.param == "sparse":
        monkeypatch.setattr(MODULE, "DENSE", 0)
    p, q, how = PAIRS[request.param](rng)
    return p, q, how, wasserstein(p, q, **how)


def costs_of(p, q, how):
    if "kappa" in how:
        return labelled(p, q, how["kappa"])
    metric = how.get("metric")
    if metric is None:
        return euclid(p.points, q.points)
    return metric(p.points, q.points) if callable(metric) else metric[p.points[:, 0]][:, q.points[:, 0]]


def test_the_plan_has_the_marginals_and_the_cost(solved):
    p, q, how, found = solved
    plan = found.plan
    assert plan.shape == (len(p), len(q))
    assert (plan.data > 0).all()
    assert plan.sum(1) == pytest.approx(p.weights, abs=1e-13)
    assert plan.sum(0) == pytest.approx(q.weights, abs=1e-13)
    assert math.fsum(plan.data * costs_of(p, q, how)[plan.row, plan.col]) == pytest.approx(found.upper, rel=1e-12)


def test_the_plan_is_exact_for_fractions(rng):
    """Whole units, common points and duplicates: every flow is a whole number of units of the common denominator."""
    for _ in range(20):
        x, y = rng.integers(0, 3, (12, 2)), rng.integers(0, 3, (18, 2))
        units = rng.integers(0, 4, 12) + np.eye(12, dtype=int)[0]
        found = wasserstein(Measure(x, weights=units / units.sum()), Measure(y))
        total = 18 * int(units.sum())
        whole = found.plan.toarray() * total
        assert np.abs(whole - np.rint(whole)).max() < 1e-12 * total
        assert np.rint(whole).sum(1).tolist() == (18 * units).tolist()
        assert np.rint(whole).sum(0).tolist() == [int(units.sum())] * 18
        stay = sum(
            min(Fraction(int(units[(x == z).all(1)].sum()), int(units.sum())), Fraction(int((y == z).all(1).sum()), 18))
            for z in np.unique(x, axis=0)
        )
        still = (x[found.plan.row] == y[found.plan.col]).all(1)
        assert Fraction(int(np.rint(found.plan.data[still] * total).sum()), total) == stay, "common mass stays"
        assert Fraction(round(found.tv * total), total) == 1 - stay


def test_the_potential_is_lipschitz_everywhere_and_attains_the_lower_end(solved, rng):
    p, q, how, found = solved
    phi = found.potential
    metric = how.get("metric")
    if metric is not None and not callable(metric):
        new = Measure(np.arange(12))
    else:
        new = Measure(2 * rng.normal(size=(60, p.points.shape[1])), rng.integers(0, 4, 60))
        known = np.concatenate([p.points[:5], q.points[:5]])
        new = Measure(np.concatenate([new.points, known]), np.concatenate([new.labels, np.zeros(len(known), int)]))
    values = phi(new.points, new.labels) if "kappa" in how else phi(new.points)
    away = costs_of(new, new, how)
    size = float(np.abs(away).max() + np.abs(values).max())
    assert (np.abs(values[:, None] - values) <= away + 1e-13 * size).all()
    at_p, at_q = (phi(m.points, m.labels) if "kappa" in how else phi(m.points) for m in (p, q))
    assert found.lower - 1e-12 <= p.weights @ at_p - q.weights @ at_q <= found.upper + 1e-12


def test_a_potential_bounds_other_measures_too(rng):
    phi = wasserstein(random_measure(rng, 20, 2), random_measure(rng, 20, 2)).potential
    for _ in range(10):
        r, s = random_measure(rng, 8, 2, spread=3.0), random_measure(rng, 9, 2, "dirichlet")
        assert r.weights @ phi(r.points) - s.weights @ phi(s.points) <= wasserstein(r, s).upper + 1e-12


def test_the_potential_of_equal_measures_belongs_to_their_metric():
    c = 0.1 * (1 - np.eye(6))
    values = wasserstein(Measure([0, 5]), Measure([5, 0]), metric=c).potential(np.arange(6))
    assert (np.abs(values[:, None] - values) <= c + 1e-15).all()


# --- the same points in other clothes ---


def test_merging(rng):
    x, y = rng.integers(0, 3, (9, 2)).astype(float), rng.integers(0, 3, (7, 2)).astype(float)
    whole = wasserstein(Measure(x), Measure(y))
    twice = wasserstein(Measure(np.repeat(x, 3, axis=0)), Measure(np.tile(y, (2, 1))))
    dust = wasserstein(
        Measure(np.vstack([x, [[1e6, 1e6]]]), weights=np.append(np.full(9, 1 / 9), 0.0)),
        Measure(np.vstack([[[-1e6, 0.0]], y]), weights=np.append(0.0, np.full(7, 1 / 7))),
    )
    for other in (twice, dust):
        assert (other.lower, other.upper, other.tv) == pytest.approx((whole.lower, whole.upper, whole.tv), rel=1e-15)


def test_signed_zeros_are_equal():
    for some in (1.0, -0.3):  # bytes, and not
        found = wasserstein(Measure([[0.0, -0.0], [some, -0.0]]), Measure([[-0.0, 0.0], [some, 0.0]]))
        assert (found.method, found.upper) == ("equal", 0.0)
    found = wasserstein(Measure([[1.0], [2.0]], [-0.0, 1.0]), Measure([[2.0], [1.0]], [1.0, 0.0]), kappa=3.0)
    assert (found.method, found.upper) == ("equal", 0.0)
    near(wasserstein(Measure([[0.0, 1.0]]), Measure([[-0.0, 3.0]])), 2.0)


def test_rows_whose_hashes_collide(monkeypatch):
    """With a hash that forgets the order of columns: the slow road gives the same numbers."""
    x, y = np.array([[1.5, 2.5], [2.5, 1.5], [1.5, 2.5]]), np.array([[2.5, 1.5], [0.5, 0.5]])
    reference = wasserstein(Measure(x), Measure(y)), wasserstein(Measure(x, [0, 1, 1]), Measure(y, [1, 0]), kappa=0.5)

    class Forgetful:
        def integers(self, low, high, size, dtype):
            return np.zeros(size, dtype)

    monkeypatch.setattr(support, "generator", lambda *name: Forgetful())
    again = wasserstein(Measure(x), Measure(y)), wasserstein(Measure(x, [0, 1, 1]), Measure(y, [1, 0]), kappa=0.5)
    for before, after in zip(reference, again, strict=True):
        assert (after.tv, after.upper) == (before.tv, pytest.approx(before.upper, rel=1e-14))


@pytest.mark.parametrize("d", [3, 60])
def test_pixels_in_all_their_forms(d, rng):
    """Whole numbers 0 to 255 in any dtype, the same by 255 as floats, and a federation of bytes: one number."""
    x, y = (rng.integers(0, 256, (k, d)) for k in (20, 30))
    reference = wasserstein(Measure(x.astype(np.uint8)), Measure(y.astype(np.uint8)))
    for dtype in (np.int16, np.int64, np.uint16, np.float32, np.float64):
        same = wasserstein(Measure(x.astype(dtype)), Measure(y.astype(dtype)))
        assert (same.lower, same.upper) == (reference.lower, reference.upper)
    fed = Federation.from_arrays([x.astype(np.uint8), y.astype(np.uint8)], scale=1 / 255)
    users, pairs = wasserstein(fed[0], fed[1]), all_pairs(fed)
    assert pairs.pairs_upper[0, 1] == pytest.approx(users.upper, rel=1e-15)
    assert pairs.pairs_lower[0, 1] == pytest.approx(users.lower, rel=1e-14)
    for scaled in (x / 255.0, y / 255.0), (x * (1 / 255), y * (1 / 255)):
        found = wasserstein(*map(Measure, scaled))
        assert found.upper * 255 == pytest.approx(reference.upper, rel=1e-14)
        assert found.lower * 255 == pytest.approx(reference.lower, rel=1e-14)
        assert found.upper == pytest.approx(users.upper, rel=1e-14)
    assert reference.gap <= 1e-12 * reference.upper
    odd = wasserstein(Measure(x + 0.5), Measure(y + 0.5))  # not whole: another road
    assert odd.upper == pytest.approx(reference.upper, rel=1e-12)
    assert odd.lower == pytest.approx(reference.lower, rel=1e-12 if d <= 32 else 1e-10)


@pytest.mark.parametrize("d", [255, 257, 800, 3072])
def test_bright_images_are_exact(d, rng):
    """Sums of squares beyond 2^24: exact as integers, only the root rounds."""
    x, y = (rng.integers(200, 256, (4, d)).astype(np.uint8) for _ in range(2))
    x[0] = 255
    squares = ((x.astype(np.int64)[:, None] - y.astype(np.int64)) ** 2).sum(2)
    exact = (
        min(
            math.fsum(math.sqrt(squares[i, j]) for i, j in enumerate(order))
            for order in itertools.permutations(range(4))
        )
        / 4
    )
    found = wasserstein(Measure(x), Measure(y))
    assert found.upper == pytest.approx(exact, rel=1e-13)
    assert found.lower <= exact <= found.upper


@pytest.mark.parametrize("top", [254.5, 255.0, 255.5, 256.0])
def test_near_the_end_of_the_bytes(top):
    for x in ([[0.0, top]], [[0.0, top / 255]]):
        near(wasserstein(Measure(x), Measure([[0.0, 0.0]])), x[0][1], rel=1e-14)
        near(wasserstein(Measure([x[0][1]]), Measure([0.0])), x[0][1], rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", [33, 784])
@pytest.mark.usefixtures("products")
def test_points_that_nearly_agree(d, dtype, rng):
    """Products of matrices lose a distance of 1/255 between points of norm 20; what is small is computed again."""
    x = rng.uniform(0.1, 0.9, (6, d)).astype(dtype)
    y = x.copy()
    y[:, 7] += dtype(1 / 255)
    exact = float((y[:, 7].astype(float) - x[:, 7].astype(float)).mean())
    found = wasserstein(Measure(x), Measure(y))
    assert found.upper == pytest.approx(exact, rel=1e-9)
    assert 0 <= exact - found.lower <= 1e-6 * exact, "what a product of matrices may lose elsewhere is allowed for"
    gram = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    lost = np.abs(np.sqrt(np.maximum(np.diag(gram), 0)).mean() / exact - 1)
    assert lost > 1e-14, "the trap is there"
    if dtype == np.float32 and d == 784:
        assert lost > 1e-2


@pytest.mark.usefixtures("products")
def test_nearly_equal_points_among_far_ones(rng):
    """Distances of 1e-3, 1 and 1e3 in one problem with more than 32 features."""
    base = rng.normal(size=(3, 40)) * np.array([[1e3], [1.0], [1.0]])
    x, y = base + 1e-3 * rng.normal(size=(3, 40)), base + 1e-3 * rng.normal(size=(3, 40))
    found, exact = wasserstein(Measure(x), Measure(y)), float(np.linalg.norm(x - y, axis=1).mean())
    assert 0 <= found.upper - exact <= 1e-13 * np.abs(base).max()
    assert 0 <= exact - found.lower <= 1e-10 * np.abs(base).max()


def test_metrics_given_as_matrix_and_as_function(rng):
    x = rng.normal(size=(12, 3))
    a, b = rng.dirichlet(np.ones(12)), rng.dirichlet(np.ones(12))
    plain = wasserstein(Measure(x, weights=a), Measure(x, weights=b))
    for found in (
        wasserstein(Measure(np.arange(12), weights=a), Measure(np.arange(12), weights=b), metric=euclid(x, x)),
        wasserstein(
            Measure(np.arange(12.0), weights=a), Measure(np.arange(12.0), weights=b), metric=euclid(x, x).tolist()
        ),
        wasserstein(Measure(x, weights=a), Measure(x, weights=b), metric=euclid),
        wasserstein(Measure(x, np.zeros(12), a), Measure(x, np.ones(12), b), metric=euclid),
    ):
        assert found.upper == pytest.approx(plain.upper, rel=1e-11)
        assert found.lower == pytest.approx(plain.lower, rel=1e-11)
        assert found.tv == plain.tv


def test_wider_gaps_are_honest(rng):
    p, q = random_measure(rng, 30, 3), random_measure(rng, 20, 3)
    fine, wide = wasserstein(p, q), wasserstein(p, q, gap=0.5)
    assert wide.lower <= fine.upper
    assert fine.lower <= wide.upper


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e150, 1e300])
def test_squares_that_would_vanish_or_overflow(size):
    x, y = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 4.0], [3.0, 4.0]])
    near(wasserstein(Measure(size * x), Measure(size * y)), 4 * size, absolute=0)
    near(wasserstein(Measure(size * x[:, :1]), Measure(size * y[:, 1:])), 2.5 * size, absolute=0)


# --- bad input ---

P, Q = Measure([0.0, 1.0]), Measure([1.0, 2.0])
PL, QL = Measure([0.0, 1.0], [0, 1]), Measure([1.0, 2.0], [1, 1])
THREE = 1 - np.eye(3)


def with_entry(i, j, value, matrix=THREE):
    c = matrix.copy()
    c[i, j] = value
    return c


BAD = {
    "empty": (lambda: Measure([]), "Measure: no points; a distribution needs at least one"),
    "NaN weights": (
        lambda: Measure([0.0, 1.0], weights=[NAN, 1.0]),
        "Measure: weights contain NaN or infinity; drop those points",
    ),
    "negative weights": (
        lambda: Measure([0.0, 1.0], weights=[1.5, -0.5]),
        "the smallest weight is -0.5; weights must be >= 0",
    ),
    "sum 2": (lambda: Measure([0.0, 1.0], weights=[1.0, 1.0]), "weights sum to 2, not 1; divide them by their sum"),
    "sum nearly 1": (lambda: Measure([0.0, 1.0], weights=[0.5, 0.5 + 1e-8]), "weights sum to 1.00000001, not 1"),
    "NaN points": (lambda: Measure([0.0, NAN]), "points contain NaN or infinity; drop or repair those rows"),
    "not a measure": (
        lambda: wasserstein([0.0, 1.0], Q),
        r"p is list; give a Measure, such as Measure\(points, labels\) or federation\[i\]",
    ),
    "not a measure either": (lambda: wasserstein(P, np.zeros(3)), "q is ndarray; give a Measure"),
    "features": (
        lambda: wasserstein(P, Measure([[0.0, 1.0]])),
        "p has points with 1 features, q with 2; they must agree",
    ),
    "labels in p": (lambda: wasserstein(PL, Q), "only p has labels; give labels to both measures or to neither"),
    "labels in q": (lambda: wasserstein(P, QL), "only q has labels; give labels to both measures or to neither"),
    "no labels": (
        lambda: wasserstein(P, Q, kappa=1.0),
        "these measures have no labels; give labels=, or leave kappa out",
    ),
    "no kappa": (
        lambda: wasserstein(PL, QL, "labelled"),
        "metric = 'labelled' needs kappa=, the price of a label in the unit of the features",
    ),
    "kappa 0": (lambda: wasserstein(PL, QL, kappa=0.0), "kappa = 0.0; must be a finite number > 0"),
    "kappa -1": (lambda: wasserstein(PL, QL, "labelled", -1), "kappa = -1; must be a finite number > 0"),
    "kappa nan": (lambda: wasserstein(PL, QL, kappa=NAN), "kappa = nan; must be a finite number > 0"),
    "kappa inf": (lambda: wasserstein(PL, QL, kappa=INF), "kappa = inf; must be a finite number > 0"),
    "kappa text": (lambda: wasserstein(PL, QL, kappa="1"), "kappa = '1'; must be a finite number > 0"),
    "kappa and matrix": (
        lambda: wasserstein(PL, QL, THREE, 1.0),
        "kappa belongs to the metric 'labelled'; a matrix or a function holds its own",
    ),
    "kappa and function": (lambda: wasserstein(PL, QL, euclid, 1.0), "kappa belongs to the metric 'labelled'"),
    "NaN labels": (
        lambda: wasserstein(Measure([0.0], [NAN]), Measure([1.0], [1.0]), kappa=1.0),
        "labels contain NaN or infinity; drop those points",
    ),
    "name": (
        lambda: wasserstein(P, Q, "taxicab"),
        "metric = 'taxicab': unknown; choose one of 'euclidean', 'labelled'",
    ),
    "gap 0": (lambda: wasserstein(P, Q, gap=0.0), "gap = 0.0; must be a number > 0"),
    "gap -1": (lambda: wasserstein(P, Q, gap=-1e-9), "gap = -1e-09; must be a number > 0"),
    "gap nan": (lambda: wasserstein(P, Q, gap=NAN), "gap = nan; must be a number > 0"),
    "gap text": (lambda: wasserstein(P, Q, gap="small"), "gap = 'small'; must be a number > 0"),
    "no metric": (lambda: wasserstein(P, Q, None), r"metric: .*(shape \(\)|NoneType)"),
    "ragged": (
        lambda: wasserstein(P, Q, [[0.0], [1.0, 2.0]]),
        "metric: list is neither 'euclidean', 'labelled', a matrix of numbers nor a function",
    ),
    "vector": (lambda: wasserstein(P, Q, [0.0, 1.0]), r"metric: a matrix of shape \(2,\); give \(k, k\)"),
    "not square": (lambda: wasserstein(P, Q, np.zeros((2, 3))), r"metric: a matrix of shape \(2, 3\); give \(k, k\)"),
    "NaN": (
        lambda: wasserstein(P, Q, with_entry(0, 1, NAN)),
        "metric: a distance is NaN or infinite; every two points need a finite distance",
    ),
    "inf": (lambda: wasserstein(P, Q, with_entry(0, 1, INF)), "metric: a distance is NaN or infinite"),
    "negative": (lambda: wasserstein(P, Q, with_entry(0, 1, -1.0)), "metric: a distance is -1; distances are >= 0"),
    "diagonal": (
        lambda: wasserstein(P, Q, with_entry(1, 1, 0.5)),
        "metric: the distance from point 1 to itself is 0.5; it must be 0",
    ),
    "asymmetric": (
        lambda: wasserstein(P, Q, with_entry(0, 2, 1.5)),
        "metric: the distance from point 0 to 2 is 1.5, from 2 to 0 it is 1; a metric is symmetric",
    ),
    "triangle": (
        lambda: wasserstein(P, Q, with_entry(0, 2, 2.5, with_entry(2, 0, 2.5))),
        "metric: from point [02] to [02] it is 2.5, but by way of 1 only 2; the triangle inequality fails",
    ),
    "index 2 of 2": (
        lambda: wasserstein(P, Q, 1 - np.eye(2)),
        r"metric: with a matrix of 2 points, the measures' points are their numbers 0 to 1",
    ),
    "index -1": (lambda: wasserstein(Measure([-1, 0]), P, THREE), "numbers 0 to 2"),
    "index 0.5": (lambda: wasserstein(Measure([0.5, 0]), P, THREE), "numbers 0 to 2"),
    "index of two features": (
        lambda: wasserstein(Measure([[0, 0]]), Measure([[1, 1]]), THREE),
        r"numbers 0 to 2, shape \(m, 1\)",
    ),
    "index of common mass": (lambda: wasserstein(Measure([0, 7]), Measure([1, 7]), THREE), "numbers 0 to 2"),
    "index of equal measures": (lambda: wasserstein(Measure([0, 7]), Measure([7, 0]), THREE), "numbers 0 to 2"),
    "function's shape": (
        lambda: wasserstein(P, Q, lambda x, y: np.zeros((1, 1))),
        r"metric: the function returned shape \(1, 1\) for 2 and 2 points; must be \(2, 2\)",
    ),
    "function's NaN": (
        lambda: wasserstein(P, Q, lambda x, y: np.full((len(x), len(y)), NAN)),
        "metric: a distance is NaN or infinite",
    ),
    "squares": (
        lambda: wasserstein(Measure([0.0, 3.0]), Measure([1.0, 2.0]), lambda x, y: euclid(x, y) ** 2),
        "the triangle inequality fails",
    ),
    "function on many": (
        lambda: wasserstein(Measure(np.arange(0, 9000, 2)), Measure(np.arange(1, 9001, 2)), euclid),
        "metric: a function on 9000 points; at most 4000, larger problems need 'euclidean' or 'labelled'",
    ),
    "potential's features": (
        lambda: wasserstein(P, Q).potential(np.zeros((3, 2))),
        r"potential: points of shape \(3, 2\); give \(m, 1\)",
    ),
    "potential's labels": (
        lambda: wasserstein(PL, QL, kappa=1.0).potential([0.0]),
        "potential: its metric has labels; give labels=",
    ),
    "potential without labels": (
        lambda: wasserstein(P, Q).potential([0.0], [1]),
        "potential: its metric has no labels",
    ),
    "beyond floats": (lambda: wasserstein(Measure([1.7e308]), Measure([-1.7e308])), "divide them by a common number"),
    "whole numbers beyond floats": (
        lambda: wasserstein(Measure([2**60]), Measure([2**60 + 1])),
        "beyond 2\\^53 integers have no exact float",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_labels_may_be_words():
    p, q = Measure([0.0, 1.0], ["cat", "dog"]), Measure([0.0, 1.0], ["dog", "dog"])
    near(wasserstein(p, q, kappa=0.5), 0.25)


# --- a solver that lies ---


def north_west(a, b):
    """A plan that is feasible and far from optimal."""
    plan, a, b, i, j = np.zeros((len(a), len(b))), a.copy(), b.copy(), 0, 0
    while i < len(a) and j < len(b):
        plan[i, j] = step = min(a[i], b[j])
        a[i] -= step
        b[j] -= step
        i, j = (i + 1, j) if a[i] == 0 else (i, j + 1)
    return plan


LIES = {
    "mass lost": (lambda plan, log: (plan * (plan < plan.max()), log), "does not have the given marginals"),
    "mass elsewhere": (lambda plan, log: (np.roll(plan, 1, axis=0), log), "does not have the given marginals"),
    "half a unit": (lambda plan, log: (plan + 0.5 * (plan > 0), log), "does not have the given marginals"),
    "negative": (lambda plan, log: (-plan, log), "does not have the given marginals"),
    "transposed costs": (
        lambda plan, log: (plan[::-1, ::-1].copy(), log),
        "does not have the given marginals|certificate not closed",
    ),
    "NaN plan": (lambda plan, log: (plan * NAN, log), "does not have the given marginals"),
    "code 3": (lambda plan, log: (plan, {**log, "result_code": 3}), "POT ended with result code 3 on 8 x 11 points"),
    "code 0": (lambda plan, log: (plan * 0, {**log, "result_code": 0}), "POT ended with result code 0"),
    "a warning": (
        lambda plan, log: (plan, {**log, "warning": "beware"}),
        "POT ended with result code 1 on 8 x 11 points: beware",
    ),
    "not optimal": (lambda plan, log: (north_west(plan.sum(1), plan.sum(0)), log), "certificate not closed"),
    "wrong duals": (
        lambda plan, log: (plan, {**log, "v": log["v"] + np.linspace(0, 1, len(log["v"]))}),
        "certificate not closed",
    ),
    "duals upside down": (lambda plan, log: (plan, {**log, "u": -log["u"], "v": -log["v"]}), "certificate not closed"),
    "NaN duals": (lambda plan, log: (plan, {**log, "v": log["v"] * NAN}), "certificate not closed"),
    "large duals": (lambda plan, log: (plan, {**log, "v": 1e10 * log["v"]}), "certificate not closed"),
}


@pytest.mark.parametrize("metric", ["euclidean", "function"])
@pytest.mark.parametrize("lie", LIES)
def test_a_solver_that_lies_gives_no_number(monkeypatch, lie, metric, rng):
    change, message = LIES[lie]
    p, q = Measure(rng.normal(size=(8, 2))), Measure(rng.normal(size=(11, 2)))
    units = rng.integers(1, 6, 8)
    p = Measure(p.points, weights=units / units.sum())
    real = ot.emd
    monkeypatch.setattr(ot, "emd", lambda *given, **keywords: change(*real(*given, **keywords)))
    with np.errstate(invalid="ignore", over="ignore"), pytest.raises(SolverError, match=message):
        wasserstein(p, q, metric=euclid if metric == "function" else metric)


@pytest.mark.parametrize("lie", ["not optimal", "wrong duals", "duals upside down"])
def test_a_solver_that_lies_within_the_gap_gives_valid_ends(monkeypatch, lie, rng):
    p, q = Measure(rng.normal(size=(8, 2))), Measure(rng.normal(size=(11, 2)) + 3)
    exact, real = wasserstein(p, q), ot.emd
    monkeypatch.setattr(ot, "emd", lambda *given, **keywords: LIES[lie][0](*real(*given, **keywords)))
    found = wasserstein(p, q, gap=0.99)
    assert found.lower <= exact.upper
    assert exact.lower <= found.upper
    assert found.gap > 0
    assert not found.closed or found.gap < 1e-12


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1e-15, 1e-9, 1e-3, 1.0]))
def test_noisy_duals_give_valid_ends_or_an_error(seed, noise):
    rng = np.random.default_rng(seed)
    p, q = Measure(rng.normal(size=(6, 2))), Measure(rng.normal(size=(9, 2)))
    exact, real = wasserstein(p, q), ot.emd

    def emd(*given, **keywords):
        plan, log = real(*given, **keywords)
        return plan, {**log, "u": log["u"] + noise * rng.normal(size=6), "v": log["v"] + noise * rng.normal(size=9)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ot, "emd", emd)
        try:
            found = wasserstein(p, q)
        except SolverError:
            assert noise > 1e-12, "rounding must be bearable"
            return
    assert found.lower <= exact.upper
    assert exact.lower <= found.upper
    assert found.gap <= 1e-8 * found.upper


# --- far outliers ---


@pytest.mark.parametrize("far", [1e2, 1e4, 1e6, 1e8])
def test_an_outlier_on_both_sides(far):
    """The mean distance is far above what moves; POT's tolerance is relative to the mean. Solved once more on reduced
    costs.
    """
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y, a = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)), np.ones(60)
        x[-1] += far
        y[-1] += far
        a[0] = 10**4
        found = wasserstein(Measure(x, weights=a / a.sum()), Measure(y, weights=a / a.sum()))
        assert found.gap <= 1e-9 * found.upper + 1e-13 * far
