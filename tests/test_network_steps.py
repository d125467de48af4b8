"""The network route of local steps against the row route, its pieces against NumPy, its bits; the difference step."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import Federation, PerFedAvg, Problem
from pfl_theory.algorithms.local_steps import (
    BY_ROUNDING,
    EXACT,
    FIRST_ORDER,
    HESSIAN_FREE,
    PLAIN,
    ROUTES,
    LocalPlan,
    averaging,
    epochs,
    local_steps,
    network,
    network_epochs,
    plain_plan,
    rows,
)
from pfl_theory.algorithms.local_steps.difference import difference_step
from pfl_theory.errors import InputError
from pfl_theory.kernels import tiles
from pfl_theory.kernels.jit import helper
from pfl_theory.kernels.vector_math import exp32
from pfl_theory.losses import MLP

VARIANTS = {"exact": EXACT, "first-order": FIRST_ORDER, "hessian-free": HESSIAN_FREE, "plain": PLAIN}
CHOICES = [
    ("elu", "linear", "cross-entropy"),
    ("softplus", "softmax", "squared"),
    ("tanh", "sigmoid", "squared"),
    ("elu", "elu", "cross-entropy"),
    ("tanh", "sigmoid", "sigmoid-cross-entropy"),
]
KINDS = {"mostly zeros": (12, 0.7), "without zeros": (90, 0.0)}  # features, share of zeros


def federation(kind, weighted=False, sizes=(30, 25, 41)):
    (features, zeros), rng = KINDS[kind], np.random.default_rng(0)
    x = [rng.normal(size=(m, features)) * (rng.random((m, features)) >= zeros) for m in sizes]
    weights = [rng.dirichlet(np.ones(m)) for m in sizes] if weighted else None
    return Federation.from_arrays(x, [rng.integers(0, 3, m) for m in sizes], sample_weight=weights)


def plan_of(variant, replace=True, delta=1e-2, sizes=(7, 9, 6), tau=3):
    inner, outer, hessian = sizes
    plain = variant == "plain"
    return LocalPlan(
        0.05, 0.02, tau, VARIANTS[variant], delta, 0 if plain else inner, outer, 0 if plain else hessian, 1 - replace
    )


def both(problem, w, plan, users=(0, 2)):
    """(path, final) by the network route and by rows."""
    call = {"seed": 1, "round_": 2, "trace": True, "keep": True}
    return [route.steps(problem.oracle, np.array(users), w, plan, **call) for route in (network, rows)]


def apart(found, expected, w):
    return max(np.abs(a - b).max() / np.abs(b - w).max() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("hidden", [(80, 60), (7,), (5, 4, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_network_steps_equal_row_steps(kind, hidden, variant):
    for (activation, output, objective), weighted in itertools.product(CHOICES, (False, True)):
        fed, loss = federation(kind, weighted), MLP(3, hidden, activation, 0.6, output, objective, 0.7)
        problem = Problem(loss, fed)
        w = loss.initial_weights(fed, weights="glorot", biases="normal", scale=0.7, seed=2)
        for replace in (True, False) if not weighted else (True,):
            for delta in (1e-2, BY_ROUNDING) if variant == "hessian-free" else (1e-2,):
                plan = plan_of(variant, replace, delta)
                assert network.fits(problem.oracle, plan)
                # a step of u^(1/3) enlarges the rounding of two gradients by u^(-1/3)
                close = 1e-10 if delta == BY_ROUNDING else 1e-12
                assert apart(*both(problem, w[None], plan), w) < 3 * close, (activation, output, weighted, replace)


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_each_users_own(kind):
    loss, fed = MLP(3, (5,)), federation(kind)
    problem, rng = Problem(loss, fed), np.random.default_rng(1)
    w = np.array([loss.initial_weights(fed, seed=k) for k in range(3)]) + 0.1 * rng.normal(size=(3, problem.dim))
    found, expected = both(problem, w, plan_of("exact"))
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) < 1e-13


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_single_precision_is_near_double(kind, variant):
    loss, fed = MLP(3, (80, 60)), federation(kind)
    w = loss.initial_weights(fed, seed=2).astype(np.float32)
    single, double = Problem(loss, fed, "float32"), Problem(loss, fed)
    plan = plan_of(variant, delta=3e-2)._replace(beta=1.0, local_steps=1)  # a step is -grad: w hides none of it
    a = network.steps(single.oracle, np.arange(3), w[None], plan, seed=1, round_=0, trace=False, keep=True)[1]
    b = rows.steps(double.oracle, np.arange(3), w[None].astype(float), plan, seed=1, round_=0, trace=False, keep=True)[
        1
    ]
    assert np.linalg.norm(a - b) < 1e-5 * np.linalg.norm(b - w)


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_that_diverges_leaves_the_next_alone(kind):
    """Scratch is used by one user after the other."""
    loss, fed = MLP(3, (5, 4)), federation(kind)
    problem, plan = Problem(loss, fed), plan_of("exact")
    w = np.array([loss.initial_weights(fed, seed=2)] * 3)
    call = {"seed": 1, "round_": 2, "trace": False, "keep": True}
    alone = network.steps(problem.oracle, np.array([2]), w, plan, **call)[1]
    w[0] = np.nan
    with np.errstate(all="ignore"):
        assert np.array_equal(network.steps(problem.oracle, np.array([0, 2]), w, plan, **call)[1][1], alone[0])


def test_tracing_moves_nothing():
    for kind in KINDS:
        loss, fed = MLP(3, (5, 4)), federation(kind)
        problem, w = Problem(loss, fed), loss.initial_weights(fed, seed=2)[None]
        call = {"seed": 1, "round_": 0, "keep": False}
        plain, traced = (local_steps(problem, np.arange(3), w, plan_of("exact"), trace=t, **call)[0] for t in (0, 1))
        assert np.array_equal(plain[-1], traced[-1])
        assert len(traced) == 4


def test_fits_says_what():
    loss, fed = MLP(3, (5,)), federation("mostly zeros")
    oracle = Problem(loss, fed).oracle
    assert network.fits(oracle, plan_of("plain"))
    assert next(r for r in ROUTES if r.fits(oracle, plan_of("exact"))) is network
    for sizes in ((0, 9, 6), (7, 0, 6), (7, 9, 0)):
        assert not network.fits(oracle, plan_of("exact", sizes=sizes))
    assert network.fits(oracle, plan_of("first-order", sizes=(7, 9, 0)))
    assert not network.fits(Problem(MLP(3, ()), fed).oracle, plan_of("exact"))
    assert not network.fits(Problem(pfl.losses.Softmax(3), fed).oracle, plan_of("exact"))
    assert not network.fits(oracle, plan_of("plain")._replace(epochs=1))
    rng = np.random.default_rng(0)
    narrow = Federation.from_arrays([rng.normal(size=(30, 4))], [rng.integers(0, 3, 30)])  # Gram matrix beyond the data
    assert not network.fits(Problem(loss, narrow).oracle, plan_of("exact"))


# --- epochs ----------------------------------------------------------------------------------------------------------


def in_epochs(batch, count=3, beta=0.02):
    return plain_plan(beta, 1, batch, True, count)


def both_in_epochs(problem, w, plan, users=(0, 2)):
    """(path, final) by the network route and by the one of any loss."""
    call = {"seed": 1, "round_": 2, "trace": False, "keep": True}
    return [route.steps(problem.oracle, np.array(users), w, plan, **call) for route in (network_epochs, epochs)]


@pytest.mark.parametrize("batch", [1, 9, 25, 100], ids="{} rows".format)
@pytest.mark.parametrize("hidden", [(80, 60), (7,), (5, 4, 3)])
def test_network_epochs_equal_epochs(hidden, batch):
    """Users of 30, 25 and 41 rows: the last batch of an epoch is smaller, or the batch larger than a user."""
    fed = federation("mostly zeros")
    for activation, output, objective in CHOICES:
        loss = MLP(3, hidden, activation, 0.6, output, objective, 0.7)
        problem = Problem(loss, fed)
        w = loss.initial_weights(fed, weights="glorot", biases="normal", scale=0.7, seed=2)[None]
        own = w + 0.1 * np.random.default_rng(1).normal(size=(3, problem.dim))
        for start, users in ((w, (0, 1, 2)), (own, (0, 2))):
            found, expected = both_in_epochs(problem, start, in_epochs(batch), users)
            assert apart(found[1:], expected[1:], start[list(users)] if len(start) > 1 else start) < 1e-12
            assert np.abs(found[0] - expected[0]).max() < 1e-12 * np.abs(expected[0] - start.mean(0)).max()


def test_network_epochs_in_single_precision():
    """Steps as large as the weights, so that these hide nothing."""
    loss, fed = MLP(3, (80, 60)), federation("mostly zeros")
    w = loss.initial_weights(fed, seed=2).astype(np.float32)[None]
    for batch in (9, 100):
        plan = in_epochs(batch, 1, 0.5)
        found = both_in_epochs(Problem(loss, fed, "float32"), w, plan, (0, 1, 2))[0][1]
        expected = both_in_epochs(Problem(loss, fed), w.astype(float), plan, (0, 1, 2))[1][1]
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected - w)


def test_a_user_that_diverges_in_epochs_leaves_the_next_alone():
    loss, fed = MLP(3, (5, 4)), federation("mostly zeros")
    problem, w = Problem(loss, fed), np.array([loss.initial_weights(fed, seed=2)] * 3)
    alone = both_in_epochs(problem, w, in_epochs(9), (2,))[0][1]
    w[0] = np.nan
    with np.errstate(all="ignore"):
        assert np.array_equal(both_in_epochs(problem, w, in_epochs(9))[0][1][1], alone[0])


def test_which_route_epochs_take():
    sparse, dense = (federation(kind) for kind in KINDS)

    def taken(loss, fed, plan):
        return next(route for route in ROUTES if route.fits(Problem(loss, fed).oracle, plan))

    assert taken(MLP(3, (5,)), sparse, in_epochs(9)) is network_epochs
    assert taken(MLP(3, (5,)), sparse, in_epochs(9)._replace(epochs=0)) is network
    assert taken(MLP(3, (5,)), dense, in_epochs(9)) is epochs
    assert taken(MLP(3, ()), sparse, in_epochs(9)) is epochs
    assert taken(pfl.losses.Softmax(3), sparse, in_epochs(9)) is epochs
    functions = Problem.from_functions(lambda w: w[:, 0] ** 2, lambda w: 2 * w, n_users=2, dim=1)
    assert not network_epochs.fits(functions.oracle, in_epochs(9))


@pytest.mark.parametrize("route", [network_epochs, epochs])
def test_what_epochs_refuse(route):
    problem = Problem(MLP(3, (5,)), federation("mostly zeros"))
    weighted = Problem(MLP(3, (5,)), federation("mostly zeros", weighted=True))
    for of, plan, trace, message in (
        (problem, in_epochs(9)._replace(variant=EXACT), False, "gradient steps over batches; give batch="),
        (problem, in_epochs(None), False, "gradient steps over batches; give batch="),
        (problem, in_epochs(9), True, "no average at a step"),
        (weighted, in_epochs(9), False, "users that weigh their rows equally"),
    ):
        w = np.zeros((1, of.dim))
        with pytest.raises(InputError, match=message):
            route.steps(of.oracle, np.arange(3), w, plan, seed=0, round_=0, trace=trace, keep=False)


# --- bits ------------------------------------------------------------------------------------------------------------

BITS = """
import hashlib
import test_network_steps as t
print(t.bits())
"""


def bits():
    found = hashlib.sha256()
    for kind, variant in itertools.product(KINDS, VARIANTS):
        fed, loss = federation(kind), MLP(3, (9, 4))
        problem, w = Problem(loss, fed, "float32"), loss.initial_weights(fed, seed=2).astype(np.float32)[None]
        found.update(both(problem, w, plan_of(variant, delta=BY_ROUNDING))[0][0].tobytes())
        if kind == "mostly zeros":
            found.update(both_in_epochs(problem, w, in_epochs(9), (0, 1, 2))[0][0].tobytes())
    return found.hexdigest()


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(averaging, "chunks", lambda n, work: [(k, k + 1) for k in range(n)])
    found = set()
    for threads in ("1", "2"):
        monkeypatch.setenv("PFL_THEORY_THREADS", threads)
        found.add(bits())
    assert len(found) == 1


@pytest.mark.slow
def test_the_same_bits_freshly_compiled_and_from_the_cache(tmp_path):
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, os.path.dirname(here)])
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": paths}
    call = [sys.executable, "-c", BITS]
    found = {subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert found == {bits() + "\n"}


# --- pieces ----------------------------------------------------------------------------------------------------------


@helper
def exponentials(x, less, e):
    for j in range(len(x)):
        less[j], e[j] = exp32(x[j])


def test_exp32_is_within_two_units_of_the_last_place():
    x = np.concatenate([-np.linspace(0, 87, 300001), -np.geomspace(1e-20, 87, 100001)]).astype(np.float32)
    less, e = np.empty_like(x), np.empty_like(x)
    exponentials(x, less, e)
    for found, exact in ((less, np.expm1(x.astype(float))), (e, np.exp(x.astype(float)))):
        assert (np.abs(found - exact) <= 2 * np.spacing(np.abs(exact).astype(np.float32))).all()
    exponentials(np.array([np.nan, -1e30], np.float32), less, e)
    assert np.isnan(e[0])
    assert 0 <= e[1] < 2e-38


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_products_equal_numpy(dtype):
    rng, width = np.random.default_rng(0), tiles.WIDTH
    for n, depth, vectors in ((1, 1, 1), (5, 3, 2), (7, 40, 3), (11, 0, 1)):
        a, b = rng.normal(size=(n, depth)).astype(dtype), rng.normal(size=(depth, vectors * width)).astype(dtype)
        base, out = rng.normal(size=(n, vectors * width)).astype(dtype), np.zeros(n * vectors * width, dtype)
        for left, row, k in ((a, depth, 1), (a.T, 1, n)):
            args = (np.ascontiguousarray(left).ravel(), 0, row, k, b.ravel(), 0, vectors * width)
            base_args = (base.ravel(), 0, vectors * width, out, 0, vectors * width)
            tiles.add_product(out.dtype.type(-2), *args, *base_args, n, vectors, depth)
            expected = base.astype(float) - 2 * (a.astype(float) @ b)
            assert np.abs(out.reshape(n, -1) - expected).max() < 40 * np.finfo(dtype).eps * (1 + np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("vectors", [1, 3, 18, 31])
def test_sparse_rows_squares_and_transposes_equal_numpy(dtype, vectors):
    rng, row = np.random.default_rng(0), vectors * tiles.WIDTH
    values, places = rng.normal(size=9).astype(dtype), rng.integers(0, 6, 9).astype(np.int32)
    table, x = rng.normal(size=(6, row)).astype(dtype), np.zeros(6)
    np.add.at(x, places, values.astype(float))
    tolerance = 50 * np.finfo(dtype).eps
    out = np.ones(row, dtype)
    tiles.sum_of_rows(values, places, 0, 9, table.ravel(), 0, out, 0, vectors, row)
    assert np.abs(out - 1 - x @ table).max() < tolerance
    moved = table.copy()
    tiles.add_to_rows(values, places, 0, 9, out, 0, moved.reshape(-1), 0, vectors, row)
    assert np.abs(moved - table - np.outer(x, out)).max() < 5 * tolerance
    size = tiles.square_of_rows(table.ravel(), 0, 6, row, vectors)
    assert abs(size / (table.astype(float) ** 2).sum() - 1) < tolerance
    square, turned = rng.normal(size=(16, row)).astype(dtype), np.zeros(row * 16, dtype)
    tiles.transpose_blocks(square.ravel(), 0, row, turned, 0, 16, 2, vectors)
    assert np.array_equal(turned.reshape(row, 16), square.T)


# --- the step of the difference --------------------------------------------------------------------------------------


def products(problem, w, v, delta):
    """Hessian-free products of all users, by definition, in the problem's precision."""
    step = w.dtype.type(difference_step(delta, w, v))
    return (problem.oracle.gradient((w + step * v)[None]) - problem.oracle.gradient((w - step * v)[None])) / (2 * step)


@pytest.mark.prefers("mnist")
@pytest.mark.parametrize(
    ("activation", "single", "double"), [("elu", 2e-2, 1e-3), ("softplus", 2e-3, 1e-8), ("tanh", 2e-3, 1e-8)]
)
def test_the_step_by_rounding_beside_a_fixed_one(activation, single, double):
    """Its error does not depend on the size of v, that of a fixed step does: in single precision 1e-3 is better where
    ||v|| is about 1 and worse where it is a hundredth. Kinks of ELU leave an error of the order of the step.
    """
    fed = pfl.federations.paper_pair()[1]
    loss = MLP(10, (80, 60), activation)
    w = loss.initial_weights(fed, weights="torch", biases="weights", seed=1)
    exact = Problem(loss, fed)
    for dtype, close in (("float32", single), ("float64", double)):
        problem, at, errors = Problem(loss, fed, dtype), w.astype(dtype), {}
        for scale in (1, 0.01):
            v = (scale * problem.gradient(at)[0]).astype(dtype)
            truth = exact.hvp(at.astype(float), v.astype(float))
            for delta in (BY_ROUNDING, 1e-3):
                away = np.linalg.norm(products(problem, at, v, delta) - truth)
                errors[scale, delta] = away / np.linalg.norm(truth)
        assert errors[1, BY_ROUNDING] < close
        assert errors[0.01, BY_ROUNDING] == pytest.approx(errors[1, BY_ROUNDING], rel=0.5)
        if dtype == "float32" and activation != "elu":
            assert errors[0.01, BY_ROUNDING] < errors[0.01, 1e-3] / 2


def test_a_given_step_is_taken_as_it_is():
    loss, fed = MLP(3, (5,)), federation("mostly zeros")
    problem = Problem(loss, fed)
    by = {"alpha": 0.1, "beta": 0.1, "variant": "hessian-free"}
    assert PerFedAvg(**by).plan_for(problem).delta == BY_ROUNDING
    assert PerFedAvg(**by, delta=1e-3).plan_for(problem).delta == 1e-3
    assert PerFedAvg(**by).plan_for(Problem(pfl.losses.Softmax(3), fed)).delta == 1e-3
    w, v = np.array([3.0, 4.0]), np.array([0.0, 2.0])
    assert difference_step(BY_ROUNDING, w, v) == pytest.approx(2.0 ** (-53 / 3) * 6 / 2, rel=1e-14)
    assert difference_step(BY_ROUNDING, w.astype(np.float32), v) == pytest.approx(2.0**-8 * 6 / 2, rel=1e-14)
    assert difference_step(0.5, w, v) == 0.5
    assert difference_step(BY_ROUNDING, w, 0 * v) > 0
