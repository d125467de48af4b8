"""Column generation against the dense solver: many shapes, ties, outliers, unequal masses; and what it does when its
helpers fail.
"""

from __future__ import annotations

import importlib

import numpy as np
import ot
import pytest

from pfl_theory import Measure
from pfl_theory.distances import SolverError, column_generation, costs, wasserstein
from pfl_theory.distances.column_generation import _settle, _staircase, by_column

MODULE = importlib.import_module(
    "pfl_theory.distances.wasserstein"
)  # the package's attribute of this name is the function
TOLERANCE = 1e-9


@pytest.fixture(autouse=True)
def products(monkeypatch):
    """Distances by products of matrices beyond 32 features, as in large problems."""
    monkeypatch.setattr(costs, "DIRECT_WORK", 0)


@pytest.fixture
def force(monkeypatch):
    """Solve by column generation whatever the size, without falling back; returns a function that gives this and the
    dense result.
    """

    def both(p, q, *, kappa=None, gap=TOLERANCE, fall_back=False):
        with monkeypatch.context() as patch:
            patch.setattr(MODULE, "DENSE", 10**9)
            dense = wasserstein(p, q, kappa=kappa)
        monkeypatch.setattr(MODULE, "DENSE", 0)
        if not fall_back:
            monkeypatch.setattr(MODULE, "STORED", 0)
        found = wasserstein(p, q, kappa=kappa, gap=gap)
        return found, dense

    return both


def agree(found, dense):
    assert found.method == "sparse"
    assert dense.method == "dense"
    assert found.rounds >= 1
    assert found.upper == pytest.approx(dense.upper, rel=TOLERANCE, abs=0)
    assert found.lower == pytest.approx(dense.lower, rel=TOLERANCE, abs=0)
    assert found.lower <= dense.upper
    assert dense.lower <= found.upper
    # weights that are not fractions are rounded to 2^-46, at the price of the farthest distance: the same for both
    assert 0 <= found.gap <= TOLERANCE * found.upper + dense.gap
    assert found.closed == dense.closed or found.gap <= TOLERANCE * found.upper
    marginals = found.plan.sum(1), found.plan.sum(0)
    for given, masses in zip(marginals, (found._pair.masses_p, found._pair.masses_q), strict=True):
        assert np.abs(given - np.array(masses.fractions(), float)).max() <= 1e-14


def masses(rng, n, kind):
    if kind == "uniform":
        return np.full(n, 1 / n)
    if kind == "fractions":
        w = rng.integers(1, 6, n)
    elif kind == "dirichlet":
        w = rng.dirichlet(np.ones(n))
    elif kind == "wild":  # a few points carry nearly all
        w = rng.pareto(0.5, n) + 1e-6
    else:  # one point carries nearly all
        w = np.full(n, 1e-3 / n)
        w[rng.integers(n)] += 1
    return w / w.sum()


def cloud(rng, m, n, d, kind):
    x, y = rng.normal(size=(m, d)), rng.normal(size=(n, d)) + 0.3
    if kind == "grid":  # heavy ties, duplicates, common points
        return rng.integers(0, 3, (m, d)).astype(float), rng.integers(0, 3, (n, d)).astype(float)
    if kind == "simplex":  # all distances equal
        corners = np.eye(m + n)
        return corners[:m], corners[m:]
    if kind == "pixels":
        return rng.integers(0, 256, (m, d)).astype(np.uint8), rng.integers(0, 256, (n, d)).astype(np.uint8)
    if kind == "clusters":
        centres = 1000 * rng.normal(size=(4, d))
        return x + centres[rng.integers(4, size=m)], y + centres[rng.integers(4, size=n)]
    if kind == "far clusters":
        far = 1e4 * np.eye(d)[0]
        return x + np.outer(np.arange(m) % 2, far), y + np.outer(np.arange(n) % 2, far)
    if kind == "outliers":
        x[0] += 100
        y[-1] -= 1000
    if kind == "line":
        t = rng.normal(size=d)
        return np.outer(x[:, 0], t), np.outer(y[:, 0], t)
    if kind == "shifted":  # many optimal plans
        return x, x[rng.integers(0, m, n)] + 1
    if kind == "moved a little":
        return x, x[rng.integers(0, m, n)] + 1e-4 * rng.normal(size=(n, d))
    return x, y


KINDS = [
    "normal",
    "grid",
    "simplex",
    "pixels",
    "clusters",
    "far clusters",
    "outliers",
    "line",
    "shifted",
    "moved a little",
]
SHAPES = [
    (1, 1),
    (1, 7),
    (7, 1),
    (2, 2),
    (3, 2),
    (2, 40),
    (5, 60),
    (20, 20),
    (40, 30),
    (30, 200),
    (120, 60),
    (17, 500),
    (100, 100),
]
MASSES = ["uniform", "fractions", "dirichlet", "wild", "one"]


def drawn(seed, kind, labelled=False):
    rng = np.random.default_rng([seed, KINDS.index(kind), labelled])
    m, n = SHAPES[rng.integers(len(SHAPES))]
    if kind == "simplex":
        m, n = min(m, 30), min(n, 60)
    x, y = cloud(rng, m, n, int(rng.choice([2, 3, 5, 20, 40])), kind)
    of_p, of_q = (masses(rng, k, MASSES[rng.integers(len(MASSES))]) for k in (m, n))
    labels = (rng.integers(0, 3, m), rng.integers(0, 3, n)) if labelled else (None, None)
    return Measure(x, labels[0], of_p), Measure(y, labels[1], of_q)


# --- against the dense solver ---


@pytest.mark.parametrize("kind", KINDS)
def test_against_the_dense_solver(force, kind):
    for seed in range(12):
        agree(*force(*drawn(seed, kind)))


@pytest.mark.parametrize("kappa", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("kind", ["normal", "grid", "pixels", "outliers"])
def test_labels(force, kind, kappa):
    for seed in range(3):
        agree(*force(*drawn(seed, kind, labelled=True), kappa=kappa))


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize("weights", MASSES)
def test_shapes_and_masses(force, m, n, weights, rng):
    x, y = cloud(rng, m, n, 3, "normal")
    agree(*force(Measure(x, weights=masses(rng, m, weights)), Measure(y, weights=masses(rng, n, weights))))


@pytest.mark.parametrize("kind", ["normal", "grid", "clusters", "pixels"])
def test_sweeps_alone(force, monkeypatch, kind):
    """Without Newton steps, as for very many rows."""
    monkeypatch.setattr(column_generation, "NEWTON_ROWS", 0)
    for seed in range(4):
        agree(*force(*drawn(seed, kind, labelled=seed == 3), kappa=2.0 if seed == 3 else None))


@pytest.mark.parametrize("kind", ["normal", "grid", "clusters", "pixels"])
@pytest.mark.parametrize("rows_at_once", [1, 7])
def test_blocks_computed_again(force, monkeypatch, kind, rows_at_once):
    """Distances that are not kept: the same numbers block by block."""
    for seed in range(3):
        p, q = drawn(seed, kind, labelled=seed == 2)
        kappa = 2.0 if seed == 2 else None
        kept = force(p, q, kappa=kappa)[0]
        with monkeypatch.context() as patch:
            patch.setattr(costs, "STORED", 8 * rows_at_once * max(len(p), len(q)) // 4)
            found, dense = force(p, q, kappa=kappa)
        agree(found, dense)
        assert found.upper == pytest.approx(kept.upper, rel=1e-12)


def test_blocks_are_not_kept_above_the_limit(monkeypatch, rng):
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(40, 3))
    kept = costs.euclidean(x, y)
    monkeypatch.setattr(costs, "STORED", 8 * 30 * 40 - 1)
    again = costs.euclidean(x, y)
    assert kept.squared is not None
    assert again.squared is None
    assert np.array_equal(kept.dense(), again.dense())
    seen = []
    again.over_rows(
        lambda first, last, block: seen.append((first, last, np.array_equal(block, kept.squared[first:last])))
    )
    assert all(same for *_, same in seen)
    assert sorted(i for first, last, _ in seen for i in range(first, last)) == list(range(30))


def test_the_sample_of_the_sweeps_leaves_columns_out(force, monkeypatch, rng):
    monkeypatch.setattr(column_generation, "SAMPLE", 16)
    x, y = cloud(rng, 30, 200, 3, "normal")
    y[1::13] += 50  # what the sample does not see
    agree(*force(Measure(x), Measure(y)))


@pytest.mark.parametrize("added", [(1, 1), (3, 2)])
def test_few_arcs_a_round_end_as_well(force, monkeypatch, added, rng):
    monkeypatch.setattr(column_generation, "ADDED_PER_COLUMN", added[0])
    monkeypatch.setattr(column_generation, "ADDED_PER_ROW", added[1])
    monkeypatch.setattr(column_generation, "MOST_ROUNDS", 10**6)
    agree(*force(*(Measure(z) for z in cloud(rng, 12, 40, 2, "clusters"))))


@pytest.mark.parametrize("start", ["zeros", "noise", "huge"])
def test_a_bad_start_costs_rounds_not_digits(force, monkeypatch, start, rng):
    """Nothing in the sweeps and the Newton steps has to be right."""
    given = {"zeros": np.zeros(25), "noise": rng.normal(size=25), "huge": 1e3 * rng.normal(size=25)}[start]
    monkeypatch.setattr(column_generation, "_newton", lambda arcs, u, a, b: given)
    for settled in (4e-3, 1e-12):
        monkeypatch.setattr(column_generation, "SETTLED", settled)
        agree(*force(*(Measure(z) for z in cloud(np.random.default_rng(3), 25, 150, 3, "normal"))))


def test_moderately_large(force):
    rng = np.random.default_rng(0)
    p, q = (
        Measure(rng.normal(size=(200, 20))),
        Measure(rng.normal(size=(6000, 20)) + 0.1, weights=rng.dirichlet(np.ones(6000))),
    )
    found, dense = force(p, q)
    agree(found, dense)
    assert found.rounds <= 5


def test_a_wider_gap_stops_earlier_and_says_so(force, rng):
    p, q = (Measure(z) for z in cloud(rng, 60, 300, 3, "clusters"))
    found, dense = force(p, q, gap=0.05)
    exact, _ = force(p, q)
    assert found.rounds <= exact.rounds
    assert found.lower <= dense.upper
    assert dense.lower <= found.upper
    assert found.gap <= 0.05 * found.upper


def test_chosen_by_size(monkeypatch, rng):
    p, q = (Measure(z) for z in cloud(rng, 20, 30, 2, "normal"))
    monkeypatch.setattr(MODULE, "DENSE", 600)
    assert wasserstein(p, q).method == "dense"
    monkeypatch.setattr(MODULE, "DENSE", 599)
    assert (wasserstein(p, q).method, wasserstein(q, p).method) == ("sparse", "sparse")
    assert wasserstein(q, p).upper == pytest.approx(wasserstein(p, q).upper, rel=1e-12)


# --- far outliers: the mean distance is much larger than what moves, and the solver's tolerance is relative to the mean
# ---


def with_outlier(far, m, n, weights, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(m, 3)), rng.normal(size=(n, 3))
    x[-1] += far
    y[-1] += far
    return Measure(x, weights=masses(rng, m, weights)), Measure(y, weights=masses(rng, n, weights))


@pytest.mark.parametrize("far", [10.0, 1e3])
@pytest.mark.parametrize("weights", ["uniform", "fractions", "dirichlet", "wild"])
def test_an_outlier_on_both_sides(force, far, weights):
    agree(*force(*with_outlier(far, 17, 200, weights, 2)))


@pytest.mark.parametrize("far", [1e5, 1e6, 1e7])
@pytest.mark.parametrize("weights", ["uniform", "fractions", "one"])
def test_a_very_far_outlier_on_both_sides(force, far, weights):
    """Relative to what moves, POT's tolerance and the rounding of distances grow with the distance of the outlier; no
    error, no wrong end.
    """
    for seed in range(6):
        for m, n in ((20, 20), (60, 60), (17, 200)):
            found, dense = force(*with_outlier(far, m, n, weights, seed), fall_back=True)
            for one in (found, dense):
                # weights that are not fractions are rounded to 2^-46, at the price of the farthest distance
                assert one.gap <= TOLERANCE * one.upper + (2e-12 if weights == "one" else 1e-13) * far
            assert found.lower <= dense.upper
            assert dense.lower <= found.upper


# --- failures are errors, or the dense problem is solved where it fits ---


def test_too_few_rounds_is_an_error(force, monkeypatch, rng):
    monkeypatch.setattr(column_generation, "MOST_ROUNDS", 1)
    monkeypatch.setattr(column_generation, "_newton", lambda arcs, u, a, b: 10 * rng.normal(size=len(u)))
    with pytest.raises(SolverError, match="1 rounds left a relative gap of .*, above 2.5e-10"):
        force(*(Measure(z) for z in cloud(rng, 25, 150, 3, "normal")))


@pytest.mark.parametrize("fault", ["result code", "marginals", "half a unit", "negative"])
def test_a_solver_that_fails(force, monkeypatch, fault, rng):
    p, q = (Measure(z) for z in cloud(rng, 20, 50, 3, "normal"))
    real = ot.emd

    def emd(a, b, c, **keywords):
        plan, log = real(a, b, c, **keywords)
        if isinstance(plan, np.ndarray):
            return plan, log  # the dense problem, for comparison
        if fault == "result code":
            return plan, {**log, "result_code": 3}
        plan.data = plan.data.copy()
        change = {"marginals": 1.0, "half a unit": 0.5, "negative": -2 * plan.data[0]}[fault]
        plan.data[0] += change
        return plan, log

    monkeypatch.setattr(ot, "emd", emd)
    with pytest.raises(
        SolverError, match="result code 3" if fault == "result code" else "does not have the given marginals"
    ):
        force(p, q)


def test_falls_back_to_the_dense_problem_where_it_fits(force, monkeypatch, rng):
    p, q = (Measure(z) for z in cloud(rng, 20, 50, 3, "normal"))

    def fails(costs, a, b, gap):
        raise SolverError("no luck")

    monkeypatch.setattr(column_generation, "solve", fails)
    found, dense = force(p, q, fall_back=True)
    assert (found.method, found.upper, found.lower) == ("dense", dense.upper, dense.lower)
    with pytest.raises(SolverError, match="no luck"):
        force(p, q)


@pytest.mark.parametrize("noise", [1e-13, 1e-3, np.nan])
def test_duals_that_are_wrong(force, monkeypatch, noise, rng):
    """Prices are made feasible over all pairs: wrong ones cost rounds or end in an error."""
    p, q = (Measure(z) for z in cloud(rng, 20, 50, 3, "normal"))
    real = ot.emd

    def emd(a, b, c, **keywords):
        plan, log = real(a, b, c, **keywords)
        if isinstance(plan, np.ndarray):
            return plan, log
        return plan, {
            **log,
            "u": log["u"] + noise * rng.normal(size=len(a)),
            "v": log["v"] + noise * rng.normal(size=len(b)),
        }

    monkeypatch.setattr(ot, "emd", emd)
    try:
        with np.errstate(invalid="ignore"):
            found, dense = force(p, q)
    except SolverError:
        assert not noise <= 1e-12, "rounding must be bearable"
    else:
        assert found.lower <= dense.upper
        assert dense.lower <= found.upper
        assert found.gap <= TOLERANCE * found.upper


# --- parts ---


def test_the_staircase_carries_a_plan_and_connects_all_points(rng):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 9, 2)
        total = int(rng.integers(max(m, n), 30))
        a, b = (
            np.diff(np.concatenate([[0], np.sort(rng.choice(np.arange(1, total), k - 1, replace=False)), [total]]))
            for k in (m, n)
        )
        rows, columns = _staircase(a, b, rng.normal(size=m), rng.normal(size=n))
        assert len(rows) == m + n - 1, "a spanning tree"
        parent = list(range(m + n))

        def root(k, parent=parent):
            while parent[k] != k:
                k = parent[k]
            return k

        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            assert root(i) != root(m + j)
            parent[root(i)] = root(m + j)
        matrix = np.full((m, n), 1e3)
        matrix[rows, columns] = 1.0
        assert ot.emd2(a.astype(float), b.astype(float), matrix) == pytest.approx(total), "all mass on its arcs"


def test_arcs_by_column():
    arcs = by_column(np.array([2, 0, 2, 1]), np.array([1, 1, 1, 3]), np.array([5.0, 6.0, 5.0, 7.0]), 5)
    assert arcs.starts.tolist() == [0, 0, 2, 2, 3, 3]
    assert (arcs.rows.tolist(), arcs.costs.tolist(), arcs.column().tolist()) == ([0, 2, 1], [6.0, 5.0, 7.0], [1, 1, 3])


def test_settled_columns_leave_mass_to_every_row():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m, n = rng.integers(1, 6), rng.integers(1, 30)
        b = rng.integers(1, 9, n)
        a = rng.multinomial(b.sum() - m, np.full(m, 1 / m)) + 1 if b.sum() > m else np.array([b.sum()])
        row, margin = rng.integers(-1, len(a), n), rng.choice([0.0, 1e-3, 0.1, 1.0, np.inf], n)
        settled = _settle(row, margin, a, b)
        assert (margin[settled] >= column_generation.SETTLED).all()
        assert (row[settled] >= 0).all()
        taken = np.bincount(row[settled], b[settled], len(a))
        assert (taken <= column_generation.KEPT * a).all()
