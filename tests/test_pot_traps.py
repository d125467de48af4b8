"""What POT does where a reader would not expect it, as installed, and what this library does about each.

An upgrade of POT that changes one of these facts is noticed here. Traps are numbered T1 to T19. Tests of POT alone are
marked `upstream`.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import warnings

import numpy as np
import ot
import pytest
from scipy.sparse import coo_array, csc_array, csr_array, lil_array

from pfl_theory import Measure
from pfl_theory.distances import SolverError, wasserstein
from pfl_theory.distances.solvers import solve_dense, solve_sparse
from pfl_theory.errors import InputError

HALF = np.array([0.5, 0.5])
SWAP = np.array([[0.0, 1.0], [1.0, 0.0]])
ALL = np.divmod(np.arange(4), 2)  # the arcs of a 2 x 2 problem


def problem(n=60, seed=0):
    """Uniform masses, Euclidean costs, and the optimum."""
    rng = np.random.default_rng(seed)
    c = ot.dist(rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + 1, metric="euclidean")
    a = np.full(n, 1 / n)
    return a, c, ot.emd2(a, a, c)


def sparse(c, dtype=coo_array):
    return dtype(coo_array((c.ravel(), np.divmod(np.arange(c.size), c.shape[1])), shape=c.shape))


def quietly(call):
    """The result and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        return call(), [str(w.message) for w in seen]


def above(u, v, c):
    """Largest violation of dual feasibility."""
    return float((u[:, None] + v - c).max())


# --- limits, defaults, masses ---


@pytest.mark.upstream
def test_t1_stopped_early_is_a_warning_and_a_number_below_the_optimum():
    a, c, best = problem()
    assert inspect.signature(ot.emd).parameters["numItermax"].default == 100_000
    (plan, log), texts = quietly(lambda: ot.emd(a, a, c, numItermax=50, log=True))
    assert log["result_code"] == 3
    assert len(texts) == 1
    assert texts[0] == log["warning"]
    assert log["cost"] < 0.9 * best, "the plan is not feasible, so its cost is no upper bound"
    assert np.abs(plan.sum(1) - a).max() > 0.5 / len(a)
    assert ot.emd2(a, a, c, numItermax=0) == best, "0 means no limit"


def test_t1_ours_asks_for_no_limit_and_reads_the_result_code(monkeypatch):
    real, asked = ot.emd, {}
    monkeypatch.setattr(ot, "emd", lambda *given, **keywords: asked.update(keywords) or real(*given, **keywords))
    _, c, best = problem()
    flow = solve_dense(np.ones(60, np.int64), np.ones(60, np.int64), c)
    assert asked["numItermax"] >= 10**9
    assert flow.mass @ c[flow.rows, flow.columns] / 60 == pytest.approx(best, rel=1e-12)
    monkeypatch.setattr(
        ot, "emd", lambda *given, **keywords: quietly(lambda: real(*given, **{**keywords, "numItermax": 50}))[0]
    )
    with pytest.raises(SolverError, match="result code 3 on 60 x 60 points: numItermax reached"):
        solve_dense(np.ones(60, np.int64), np.ones(60, np.int64), c)


def test_t2_t17_t19_squares_are_the_default():
    x, y = np.array([[0.0]]), np.array([[3.0]])
    assert ot.dist(x, y)[0, 0] == 9
    assert ot.emd2_1d(x, y) == 9
    assert ot.wasserstein_1d(x, y)[0] == 3
    assert inspect.signature(ot.lp.emd2_lazy).parameters["metric"].default == "sqeuclidean"
    two = np.array([[0.0], [0.0]]), np.array([[3.0], [3.0]])
    assert ot.lp.emd2_lazy(*two, HALF, HALF, return_matrix=False) == 9
    assert inspect.signature(ot.sliced_wasserstein_distance).parameters["p"].default == 2
    assert wasserstein(Measure(x), Measure(y)).upper == pytest.approx(3, rel=1e-14)
    assert wasserstein(Measure([[0.0, 0.0]]), Measure([[3.0, 0.0]])).upper == pytest.approx(3, rel=1e-13)


def test_t3_missing_weights_and_any_mass():
    assert ot.emd([], [], SWAP).tolist() == [[0.5, 0.0], [0.0, 0.5]]
    with pytest.raises(AttributeError):
        ot.emd(None, None, SWAP)
    assert ot.emd2(np.array([3.0, 0.0]), np.array([0.0, 3.0]), SWAP) == 3
    with pytest.raises(InputError, match="weights sum to 3, not 1"):
        Measure([0.0, 1.0], weights=[3.0, 0.0])
    with pytest.raises(InputError, match="2 points but weights of shape"):
        Measure([0.0, 1.0], weights=[])


def test_t4_masses_that_differ_are_rescaled_in_silence():
    assert ot.emd(HALF, HALF * (1 + 1e-6), SWAP).sum() == 1
    with pytest.raises(AssertionError):
        ot.emd(HALF, HALF * (1 + 1e-5), SWAP)
    assert ot.emd(2 * HALF, HALF, SWAP, check_marginals=False).sum() == 2
    with pytest.raises(SolverError, match="does not have the given marginals"):
        solve_dense(np.array([10**7, 10**7]), np.array([10**7, 10**7 + 1]), SWAP)


# --- costs ---


@pytest.mark.parametrize(("scale", "error"), [(1e-12, 1e-6), (1e-15, 0.01)])
def test_t5_the_tolerance_is_absolute(scale, error):
    a, c, best = problem()
    (_, log), texts = quietly(lambda: ot.emd(a, a, c * scale, log=True))
    assert log["result_code"] == 1
    assert not texts
    assert log["cost"] / scale / best - 1 > error
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 1
    found = wasserstein(Measure(scale * x), Measure(scale * y))
    assert found.lower / scale == pytest.approx(best, rel=1e-12)
    assert found.upper / scale == pytest.approx(best, rel=1e-12)


@pytest.mark.upstream
def test_t5_a_cost_that_forbids_an_arc_spoils_the_others():
    a, c, best = problem()
    c[0, np.argmax(c[0])] = 1e12  # the longest arc of a row: the optimum has no use for it
    (_, log), texts = quietly(lambda: ot.emd(a, a, c, log=True))
    assert log["result_code"] == 1
    assert not texts
    assert log["cost"] / best - 1 > 1e-5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_t6_costs_that_are_no_numbers(bad):
    c = SWAP.copy()
    c[0, 1] = bad
    assert quietly(lambda: ot.emd2(HALF, HALF, c)) == (0.0, [])
    c[1, 0] = bad
    with pytest.raises(InputError, match="a distance is NaN or infinite"):
        wasserstein(Measure([0]), Measure([1]), metric=c)


@pytest.mark.upstream
def test_t6_a_nan_in_a_large_matrix_gives_a_plausible_number():
    a, c, best = problem()
    c[3, 4] = np.nan
    value, texts = quietly(lambda: ot.emd2(a, a, c))
    assert np.isfinite(value)
    assert value == pytest.approx(best, rel=0.1)
    assert not texts


def test_t7_integer_and_negative_masses():
    plan, texts = quietly(lambda: ot.emd(np.array([1, 0]), HALF, SWAP))
    assert plan.tolist() == [[0, 0], [0, 0]]
    assert "casted" in texts[0]
    value, texts = quietly(lambda: ot.emd2(np.array([1.0, -1e-18]), HALF, SWAP))
    assert value == 0
    assert "infeasible" in texts[0]
    flow = solve_dense(np.array([2, 2]), np.array([1, 3]), SWAP)  # integers are given to POT as float64
    assert sorted(zip(flow.rows.tolist(), flow.columns.tolist(), flow.mass.tolist(), strict=True)) == [
        (0, 0, 1),
        (0, 1, 1),
        (1, 1, 2),
    ]
    with pytest.raises(InputError, match="the smallest weight is -1e-18; weights must be >= 0"):
        Measure([0.0, 1.0], weights=[1.0, -1e-18])


def test_t8_distances_by_products_of_matrices():
    x = np.random.default_rng(0).normal(size=(50, 784))
    assert 1e-8 < np.diag(ot.dist(x, x.copy(), metric="euclidean")).max() < 1e-4
    assert np.diag(ot.dist(x.astype(np.float32), x.astype(np.float32).copy(), metric="euclidean")).max() > 1e-3
    assert (np.diag(ot.dist(x, x, metric="euclidean")) == 0).all(), "zeros by identity of the objects"
    assert wasserstein(Measure(x), Measure(x.copy())).upper == 0


# --- sparse costs ---


@pytest.mark.upstream
@pytest.mark.parametrize("kind", [coo_array, csr_array, csc_array, lil_array])
def test_t9_sparse_costs_of_any_kind(kind):
    a, c, best = problem(30)
    plan, log = ot.emd(a, a, sparse(c, kind), log=True)
    assert isinstance(plan, coo_array)
    assert log["result_code"] == 1
    assert log["cost"] == pytest.approx(best, rel=1e-12)


def test_t9_zeros_and_repeated_arcs():
    explicit = coo_array((SWAP.ravel(), ALL), shape=(2, 2))
    assert ot.emd(HALF, HALF, explicit, log=True)[1]["cost"] == 0
    assert coo_array(SWAP).nnz == 2
    assert ot.emd(HALF, HALF, coo_array(SWAP), log=True)[1]["cost"] == 1, "a matrix's zeros are no arcs"
    twice = coo_array((np.array([1.0, 3.0, 1.0, 1.0]), ([0, 0, 1, 1], [0, 0, 0, 1])), shape=(2, 2))
    ones = np.ones(2)
    assert ot.emd(ones, ones, twice, log=True)[1]["cost"] == 2, "parallel arcs"
    assert ot.emd(ones, ones, csr_array(twice), log=True)[1]["cost"] == 5, "their sum"
    flow = solve_sparse(np.array([1, 1]), np.array([1, 1]), *ALL, SWAP.ravel())
    assert flow.rows.tolist() == flow.columns.tolist()
    assert (flow.u[:, None] + flow.v <= SWAP + 1e-15).all()


def test_t10_too_few_arcs_is_a_warning_and_zero():
    (plan, log), texts = quietly(
        lambda: ot.emd(HALF, HALF, coo_array((np.ones(1), ([0], [0])), shape=(2, 2)), log=True)
    )
    assert plan.nnz == 0
    assert (log["cost"], log["result_code"], log["u"].tolist(), log["v"].tolist()) == (0, 0, [0, 0], [0, 0])
    assert "infeasible" in texts[0]
    one = np.array([0])
    with pytest.raises(SolverError, match="result code 0 on 2 x 2 points"):
        quietly(lambda: solve_sparse(np.array([1, 1]), np.array([1, 1]), one, one, np.ones(1)))


def test_t11_points_without_mass():
    rng = np.random.default_rng(1)
    c = ot.dist(rng.normal(size=(8, 2)), rng.normal(size=(9, 2)), metric="euclidean")
    a, b = np.full(8, 1 / 7), np.full(9, 1 / 8)
    a[2] = b[3] = 0
    dense, few = (ot.emd(a, b, costs, log=True)[1] for costs in (c, sparse(c)))
    assert above(dense["u"], dense["v"], c) < 1e-12
    assert above(few["u"], few["v"], c) > 0.1
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(9, 2))
    found, kept = wasserstein(Measure(x, weights=a), Measure(y, weights=b)), (np.arange(8) != 2, np.arange(9) != 3)
    assert found.upper == pytest.approx(wasserstein(Measure(x[kept[0]]), Measure(y[kept[1]])).upper, rel=1e-14)
    assert found.gap < 1e-12


@pytest.mark.upstream
def test_negative_costs_make_a_feasible_problem_infeasible():
    """Why column generation gives POT distances, never reduced costs that may be negative."""
    rows, columns = np.array([0, 1, 2, 3, 1, 2, 3]), np.array([0, 1, 2, 3, 0, 1, 2])  # the diagonal is a plan
    costs, ones = -np.array([0.27, 0.04, 0.02, 813.27, 0.91, 606.64, 0.73]), np.ones(4)
    codes = [
        quietly(lambda c=c: ot.emd(ones, ones, coo_array((c, (rows, columns)), shape=(4, 4)), log=True))[0][1][
            "result_code"
        ]
        for c in (costs, costs + 1000)  # the same problem, each plan dearer by 4000
    ]
    assert codes == [0, 1]


# --- duals, potentials ---


@pytest.mark.upstream
def test_t12_duals_are_centred_and_feasible_up_to_rounding_only():
    a, c, best = problem(200)
    log = ot.emd(a, a, c, log=True)[1]
    assert a @ log["u"] == pytest.approx(best / 2, rel=1e-12)
    assert a @ log["v"] == pytest.approx(best / 2, rel=1e-12)
    assert 0 < above(log["u"], log["v"], c) < 1e-11, "above 0: not a certificate as it stands"


@pytest.mark.upstream
def test_t13_a_warm_start_is_for_dense_costs_only():
    a, c, _ = problem(200)
    log = ot.emd(a, a, c, log=True)[1]
    warm = (log["u"], log["v"])

    def code(costs, limit, start):
        return quietly(lambda: ot.emd(a, a, costs, numItermax=limit, potentials_init=start, log=True))[0][1][
            "result_code"
        ]

    assert [code(c, 20, None), code(c, 20, warm)] == [3, 1]
    assert [code(sparse(c), 20, None), code(sparse(c), 20, warm)] == [3, 3]


# --- degenerate input ---


@pytest.mark.upstream
@pytest.mark.parametrize("given", ["np.zeros(0), np.zeros(0), np.zeros((0, 0))", "[], [], np.zeros((0, 0))"])
def test_t14_an_empty_problem_kills_the_process(given):
    code = (
        "import resource, numpy as np, ot; "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); print('ready', flush=True); "
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}ot.emd({given}); print('alive')"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "ready\n"
    assert done.returncode < 0, "ended by a signal"


def test_t14_ours_never_asks(monkeypatch):
    monkeypatch.setattr(ot, "emd", None)
    p, again = (
        Measure([[0.0, 1.0], [2.0, 3.0]]),
        Measure([[2.0, 3.0], [0.0, 1.0], [2.0, 3.0]], weights=[0.25, 0.5, 0.25]),
    )
    found = wasserstein(p, again)
    assert (found.method, found.lower, found.upper) == ("equal", 0.0, 0.0)


def test_t14_no_mass_is_zero_with_a_warning():
    value, texts = quietly(lambda: ot.emd2(np.zeros(2), np.zeros(2), SWAP))
    assert value == 0
    assert "infeasible" in texts[-1]
    with pytest.raises(InputError, match="weights sum to 0, not 1"):
        Measure([0.0, 1.0], weights=[0.0, 0.0])


@pytest.mark.upstream
def test_t15_sinkhorn_loses_mass_and_its_value_is_not_the_entropic_one():
    a, c, best = problem(200)
    with np.errstate(all="ignore"):
        plan, texts = quietly(lambda: ot.sinkhorn(a, a, c, 1e-4 * c.max()))
    assert not plan.sum() > 1e-9
    assert texts
    reg = 0.1 * c.max()
    value, plan = ot.sinkhorn2(a, a, c, reg), ot.sinkhorn(a, a, c, reg)
    assert value == pytest.approx((plan * c).sum(), rel=1e-6), "the transport part alone"
    assert value > best + 0.01


def test_t16_weights_on_the_line_are_not_normalised():
    from scipy.stats import wasserstein_distance

    x, y, ones = np.zeros(2), np.array([1.0, 2.0]), np.ones(2)
    assert ot.wasserstein_1d(x, y, ones, ones) == 3
    assert wasserstein_distance(x, y, ones, ones) == 1.5
    assert wasserstein(Measure(x), Measure(y)).upper == pytest.approx(1.5, rel=1e-14)


@pytest.mark.upstream
def test_t18_single_precision_masses():
    a, c, best = problem(200)
    few = a.astype(np.float32)
    assert ot.emd(few, few, c).dtype == np.float32
    assert 1e-10 < abs(ot.emd2(few, few, c) / best - 1) < 1e-6


@pytest.mark.upstream
def test_threads_are_deprecated_and_ignored():
    a, c, best = problem()
    with pytest.warns(DeprecationWarning, match="numThreads"):
        assert ot.emd2(a, a, c, numThreads=2) == best


# --- what the benchmark of W1 races against ---


def test_the_peers_of_the_benchmark_solve_the_same_problem(rng):
    """Dense, warm started, lazy and sparse: one value, but where few arcs carry no plan, or a dearer one."""
    from benchmarks import wasserstein as bench
    from pfl_theory.distances.support import pair
    from pfl_theory.distances.wasserstein import between

    q = Measure(rng.normal(size=(60, 5)))
    problems = [pair(Measure(rng.normal(size=(20, 5)) + s), q, use_labels=False) for s in (0.5, 0.6)]
    exact, (at, other) = between(problems[0]), (bench.given(problem) for problem in problems)
    value, own = bench.solved(at)
    found = {
        "dense": bench.dense(at),
        "warm": bench.warm(at, own),
        "neighbour": bench.from_neighbour(at, other, bench.solved(other)[1]),
        "lazy": bench.lazy(at),
        "lazy, warm": bench.lazy(at, own),
        "all arcs": bench.sparse(at, 19),
    }
    assert value == pytest.approx(exact.upper, rel=1e-12)
    assert {name: v == pytest.approx(exact.upper, rel=1e-12) for name, v in found.items()} == dict.fromkeys(found, True)
    assert bench.sparse(at, 6) >= exact.lower
    assert bench.sparse(at, 1) is None


def test_the_benchmark_says_what_a_value_is_worth(tmp_path, monkeypatch, capsys):
    from benchmarks import alternate
    from benchmarks import wasserstein as bench

    monkeypatch.setattr(alternate, "RESULTS", tmp_path)
    seconds, off = {}, {}
    contenders = {"ours": lambda: 2.0, "few arcs": lambda: 2.5, "no plan": lambda: None}
    for _ in range(2):
        bench._measure(contenders, 2.0, 1, seconds, off)
    alternate.report("W1", seconds, "ours", {"name": "w"}, bench._notes(off))
    kept = json.loads((tmp_path / "w.json").read_text())
    said = {name: (row["certificate"], row["relative_error"]) for name, row in kept["contenders"].items()}
    assert said == {"ours": (True, 0.0), "few arcs": (False, 0.25), "no plan": (False, None)}
    assert kept["contenders"]["no plan"]["infeasible"] == 2
    assert kept["machine"]["POT"] == ot.__version__
    assert kept["machine"]["scipy"]
    assert "certificate no; relative_error 0.25" in capsys.readouterr().out
