"""Ways in which public codes of Per-FedAvg differ from Algorithm 1, each made again here: the library agrees with
Algorithm 1 and with none of them.

M1 .. M27 number the differences; each says below what it does. Two fixtures with three batches a step: cubics with
noise (HF equals exact there), which go through the library's route for functions, and logistic regression on rows,
which goes through its kernels.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from reference import draws
from reference.losses import twin_of, users_of

from pfl_theory import FedAvg, Federation, Noise, PerFedAvg, Problem, adapt, run
from pfl_theory.errors import InputError
from pfl_theory.losses import Logistic, Quadratic

ALPHA, BETA, LR, DELTA, TAU, ROUNDS, SEED = 0.35, 0.2, 0.13, 0.01, 2, 2, 21
N, DRAWN, SIZES = 3, 2, (3, 2, 4)  # users, users a round, batch sizes D, D', D''


class Cubics:
    """f_i(w) = sum_j a_ij w_j^3 / 6 + <w, S_i w> / 2 + <b_i, w>; a datum adds <xi, w> + <w, Xi w> / 2 with random xi
    and symmetric Xi.
    """

    rows = (4, 8, 12)  # pretended numbers of rows, for the sample-weighted mutant
    dim = 2

    def __init__(self):
        rng = np.random.default_rng(1)
        self.a, self.b, s = rng.normal(size=(N, 2)), rng.normal(size=(N, 2)), rng.normal(size=(N, 2, 2))
        self.s = (s + s.transpose(0, 2, 1)) / 4
        self.w0 = np.array([0.4, -0.3])

    @staticmethod
    def datum(rng):
        xi, big = 0.3 * rng.normal(size=(N, 2)), 0.3 * rng.normal(size=(N, 2, 2))
        return xi, big + big.transpose(0, 2, 1)

    def problem(self):
        def noisy_gradient(rng, w):
            xi, big = self.datum(rng)
            return xi + np.einsum("nij,nj->ni", big, w)

        def hvp(w, v):
            return self.a * w * v + np.einsum("nij,nj->ni", self.s, v)

        return Problem.from_functions(
            lambda w: (self.a * w**3 / 6 + self.b * w).sum(1) + np.einsum("ni,nij,nj->n", w, self.s, w) / 2,
            lambda w: self.a * w**2 / 2 + np.einsum("nij,nj->ni", self.s, w) + self.b,
            hvp,
            n_users=N,
            dim=2,
            noise=Noise(noisy_gradient, lambda rng, w, v: np.einsum("nij,nj->ni", self.datum(rng)[1], v)),
        )

    def batch(self, k, i, t, which):
        low, high = draws.key_of(SEED, "function noise")
        rng = np.random.Generator(np.random.Philox(key=[low + 2**32 * high, k], counter=[t, which, 0, 0]))
        data = [self.datum(rng) for _ in range(SIZES[which])]
        return np.mean([xi[i] for xi, _ in data], axis=0), np.mean([big[i] for _, big in data], axis=0)

    def gradient(self, i, w, batch):
        return self.a[i] * w**2 / 2 + self.s[i] @ w + self.b[i] + batch[0] + batch[1] @ w

    def hessian(self, i, w, batch):
        return np.diag(self.a[i] * w) + self.s[i] + batch[1]


class Rows:
    """Logistic regression with the nonconvex term, users of 4, 8 and 12 rows."""

    rows = (4, 8, 12)
    dim = 3

    def __init__(self, loss=None, rows=(4, 8, 12)):
        rng, self.rows = np.random.default_rng(2), rows
        self.loss = loss or Logistic(nonconvex=0.3)
        self.fed = Federation.from_arrays(
            [2 * rng.normal(size=(m, 3)) for m in rows], [rng.integers(0, 2, m) for m in rows]
        )
        self.twin, self.data, self.w0 = twin_of(self.loss), users_of(self.fed), np.array([0.5, -0.4, 0.2])

    def problem(self):
        return Problem(self.loss, self.fed)

    def batch(self, k, i, t, which):
        x, y, weights = self.data[i]
        rows = draws.batch(weights, SIZES[which], seed=SEED, round_=k, user=i, step=t, which=which)
        return x[rows], y[rows], np.full(len(rows), 1 / len(rows))

    def gradient(self, i, w, batch):
        return self.twin.gradient(w, i, *batch)

    def hessian(self, i, w, batch):
        return self.twin.hessian(w, i, *batch)


def train(f, mutant="", variant="exact"):
    """Algorithm 1 on a fixture, with one thing wrong if `mutant` says so."""
    alpha, beta = ALPHA, {"M5": ALPHA, "M6": LR}.get(mutant, BETA)
    w = f.w0
    for k in range(ROUNDS):
        ends = {}
        for i in draws.chosen_users(N, DRAWN, SEED, k):
            here, buffer = w, np.zeros_like(w)
            for t in range(TAU * (2 if mutant == "M14" else 1)):
                if mutant == "M18":
                    here = w
                d, d1, d2 = (f.batch(k, i, t, which) for which in range(3))
                if mutant in ("M1", "M2c"):
                    d1 = d
                if mutant == "M2":
                    d2 = d1
                if mutant in ("M2b", "M2c"):
                    d2 = d
                inner = f.gradient(i, here, d)
                if mutant == "M16":  # one momentum buffer for both optimiser steps
                    buffer = 0.9 * buffer + inner
                    adapted = here - alpha * buffer
                else:
                    adapted = here - (beta if mutant == "M20" else alpha) * inner
                v = f.gradient(i, adapted, d1)
                if mutant == "M8":  # gradient not zeroed between the two backward passes
                    v = v + inner
                u = inner if mutant == "M11" else v
                h = f.hessian(i, adapted if mutant == "M9" else here, d2)
                product = h @ u
                if variant == "hessian-free":
                    product = (f.gradient(i, here + DELTA * u, d2) - f.gradient(i, here - DELTA * u, d2)) / (2 * DELTA)
                if variant == "first-order":
                    product = 0 * v
                if mutant == "M7":
                    product = np.diag(h) * v
                if mutant == "M15":
                    product = (f.gradient(i, here + DELTA * v, d2) - f.gradient(i, here, d2)) / DELTA
                if mutant == "M12b":
                    product = 2 * product
                step = v - (1.0 if mutant == "M12" else -alpha if mutant == "M10" else alpha) * product
                if mutant == "M7b":
                    step = (1 - h.sum(1)) * v
                if mutant == "M16":
                    buffer = step = 0.9 * buffer + step
                start = adapted if mutant in ("M3", "M4") else here
                if mutant == "M3" and t + 1 < TAU:  # the next local step starts at the adapted point
                    here = adapted
                elif mutant == "M3":
                    here = here - beta * step
                else:
                    here = start - beta * step
            ends[i] = here
        share = {i: f.rows[i] for i in ends} if mutant == "M13" else dict.fromkeys(ends, 1.0)
        total = N if mutant == "M17" else sum(share.values())
        w = sum(share[i] * end for i, end in ends.items()) / total
    return w


def plain(f, lr):
    """FedAvg with local step lr; the library gives its batch the place of D'."""
    w = f.w0
    for k in range(ROUNDS):
        ends = []
        for i in draws.chosen_users(N, DRAWN, SEED, k):
            here = w
            for t in range(TAU):
                here = here - lr * f.gradient(i, here, f.batch(k, i, t, draws.OUTER))
            ends.append(here)
        w = np.mean(ends, axis=0)
    return w


MUTANTS = (
    "M1",
    "M2",
    "M2b",
    "M2c",
    "M3",
    "M4",
    "M5",
    "M6",
    "M7",
    "M7b",
    "M8",
    "M9",
    "M10",
    "M11",
    "M12",
    "M12b",
    "M13",
    "M14",
    "M15",
    "M16",
    "M17",
    "M18",
    "M20",
)
FIXTURES = {"cubics": Cubics, "rows": Rows}


def library(f, variant="exact"):
    common = {"beta": BETA, "local_steps": TAU, "participation": DRAWN}
    if variant == "FedAvg":
        algorithm = FedAvg(**common, batch=SIZES[1])
    else:
        algorithm = PerFedAvg(
            ALPHA,
            **common,
            batch_inner=SIZES[0],
            batch_outer=SIZES[1],
            batch_hessian=SIZES[2],
            variant=variant,
            delta=DELTA,
        )
    return run(algorithm, f.problem(), rounds=ROUNDS, w0=f.w0, seed=SEED).w


def distance(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.fixture(params=FIXTURES)
def fixture(request):
    return FIXTURES[request.param]()


@pytest.mark.parametrize("variant", ["exact", "first-order", "hessian-free"])
def test_library_is_algorithm_1(fixture, variant):
    assert distance(library(fixture, variant), train(fixture, variant=variant)) < 1e-12


def test_library_fedavg(fixture):
    assert distance(library(fixture, "FedAvg"), plain(fixture, BETA)) < 1e-12
    assert distance(library(fixture, "FedAvg"), plain(fixture, ALPHA)) > 1e-2  # M22: the step of FedAvg is beta


@pytest.mark.parametrize("mutant", MUTANTS)
def test_library_is_not(fixture, mutant):
    assert distance(train(fixture, mutant), library(fixture)) > 1e-6


@pytest.mark.parametrize("mutant", ["M1", "M3", "M4", "M5", "M6", "M8", "M13", "M14", "M16", "M17", "M18", "M20"])
def test_library_first_order_is_not(fixture, mutant):
    assert distance(train(fixture, mutant, "first-order"), library(fixture, "first-order")) > 1e-6


def test_variants_are_told_apart(fixture):
    found = {m: train(fixture, m) for m in MUTANTS}
    found |= {
        "Algorithm 1": library(fixture),
        "FO": library(fixture, "first-order"),
        "FedAvg": library(fixture, "FedAvg"),
        "M22": plain(fixture, ALPHA),
    }
    closest = min((distance(found[a], found[b]), a, b) for a, b in itertools.combinations(found, 2))
    assert closest[0] > 1e-6, closest


def test_hessian_free_on_cubics_and_elsewhere():
    assert distance(library(Cubics(), "hessian-free"), library(Cubics())) < 1e-12
    assert 1e-9 < distance(library(Rows(), "hessian-free"), library(Rows())) < 1e-3


def test_beta_zero_is_refused_and_not_replaced():
    """M6: beta = 0 must not silently become another rate."""
    with pytest.raises(InputError, match="beta = 0.0"):
        PerFedAvg(ALPHA, 0.0)


# -- mutants that are none, where a structure makes them equal
# ----------------------------------------------------------------


def test_hessian_batches_do_not_matter_where_all_batches_share_one_hessian():
    f = Rows(Quadratic(np.diag([1.0, 2.0, -0.5])))
    for mutant in ("M2", "M2b"):
        assert distance(train(f, mutant), library(f)) < 1e-12
    assert np.array_equal(train(f, "M2c"), train(f, "M1"))
    assert distance(train(f, "M1"), library(f)) > 1e-6


def test_first_order_is_exact_for_linear_losses():
    b = np.random.default_rng(0).normal(size=(N, 2))
    problem = Problem.from_functions(
        lambda w: (b * w).sum(1), lambda w: np.broadcast_to(b, w.shape), lambda w, v: 0 * v, n_users=N, dim=2
    )
    results = [
        run(PerFedAvg(ALPHA, BETA, TAU, participation=DRAWN, variant=v), problem, rounds=ROUNDS, seed=SEED).w
        for v in ("exact", "first-order")
    ]
    assert np.array_equal(*results)


def test_sample_weights_do_not_matter_where_sizes_are_equal():
    f = Rows(rows=(6, 6, 6))
    assert distance(train(f, "M13"), library(f)) < 1e-12


def test_batches_of_all_rows_make_all_batches_equal():
    f = Rows(rows=(4, 4, 4))
    everything = PerFedAvg(
        ALPHA, BETA, TAU, participation=DRAWN, batch_inner=4, batch_outer=4, batch_hessian=4, replace=False
    )
    exact = PerFedAvg(ALPHA, BETA, TAU, participation=DRAWN)
    assert distance(*(run(a, f.problem(), rounds=ROUNDS, w0=f.w0, seed=SEED).w for a in (everything, exact))) < 1e-12


# -- evaluation
# ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scored():
    """Train and test data of three users, their test sizes unequal and the labels of the tests noisy."""
    rng = np.random.default_rng(6)

    def fed(sizes, noise):
        x = [rng.normal(size=(m, 3)) for m in sizes]
        return Federation.from_arrays(
            x, [(u @ [1.0, -1.0, i - 1.0] + noise * rng.normal(size=len(u)) > 0).astype(int) for i, u in enumerate(x)]
        )

    return Problem(Logistic(), fed((9, 5, 14), 0.5)), Problem(Logistic(), fed((30, 4, 11), 2.0))


def evaluation(train_on, test, w, mutant="", alpha=1.5):
    """Loss and accuracy a user after one step, and their means; with one thing wrong."""
    twin, before = twin_of(train_on.loss), np.array(w)
    data, scores = users_of(train_on.federation), users_of(test.federation)
    losses, accuracies = [], []
    for i, (held, rows) in enumerate(zip(scores, data, strict=True)):
        if mutant == "M23":  # adapts on the points it scores
            rows = held
        if mutant == "M25":  # other users than those trained
            held, rows = scores[(i + 1) % 3], data[(i + 1) % 3]
        personal = before - alpha * twin.gradient(before, i, *rows)
        if mutant == "M24":  # two steps
            personal = personal - alpha * twin.gradient(personal, i, *rows)
        if mutant == "M19":  # not restored before the next user
            before = personal
        losses.append(twin.value(personal, i, *held))
        accuracies.append(twin.accuracy(personal, i, *held))
        if mutant == "M27":  # summed batch means (batches of 2)
            x, y, _ = held
            losses[-1] = sum(
                twin.value(personal, i, x[b : b + 2], y[b : b + 2], np.full(len(y[b : b + 2]), 1 / len(y[b : b + 2])))
                for b in range(0, len(y), 2)
            )
    sizes = [len(held[1]) for held in scores] if mutant == "M26" else None
    return {
        "losses": np.array(losses),
        "accuracies": np.array(accuracies),
        "loss": np.average(losses, weights=sizes),
        "accuracy": np.average(accuracies, weights=sizes),
    }


def library_evaluation(train_on, test, w0):
    r = run(PerFedAvg(1.5, 1e-9), train_on, rounds=1, w0=w0, test=test, record=["loss", "accuracy"])
    frame = r.frame()
    return {
        "losses": r.records["loss_after"][0],
        "accuracies": r.records["accuracy_after"][0],
        "loss": frame["loss_after"][0],
        "accuracy": frame["accuracy_after"][0],
    }


W = np.array([0.3, 0.1, -0.2])


def test_evaluation_of_the_library(scored):
    got, expected = library_evaluation(*scored, W), evaluation(*scored, W)
    for name, value in expected.items():
        assert np.allclose(got[name], value, rtol=1e-12, atol=0), name


@pytest.mark.parametrize("mutant", ["M19", "M23", "M24", "M25", "M26", "M27"])
def test_evaluation_is_not(scored, mutant):
    got, wrong = library_evaluation(*scored, W), evaluation(*scored, W, mutant)
    if mutant != "M25":
        assert abs(wrong["loss"] - got["loss"]) > 1e-6
    else:  # the same users in another order have the same mean: told apart per user
        assert np.abs(wrong["losses"] - got["losses"]).min() > 1e-6
    if mutant == "M26":
        assert abs(wrong["accuracy"] - got["accuracy"]) > 1e-6


def test_the_first_model_is_the_one_given(scored):
    """M21: evaluation starts from w_k, not from another initialisation."""
    problem, test = scored
    assert np.array_equal(library_evaluation(problem, test, W)["losses"], test.value(adapt(problem, W, alpha=1.5)))
    r = run(PerFedAvg(1.5, 0.1), problem, rounds=1, record="loss")
    assert np.array_equal(r.records["loss_before"][0], problem.value(np.zeros(3)))


def test_scoring_the_adapted_points_leaks():
    """Protocol (c), adapt and score on the same points, finds signal in pure noise: why M23 matters."""
    rng = np.random.default_rng(3)

    def noise():
        return Problem(Logistic(), Federation.from_arrays(rng.normal(size=(40, 40, 60)), rng.integers(0, 2, (40, 40))))

    problem, test = noise(), noise()
    personal = adapt(problem, np.zeros(60), alpha=0.1)
    assert abs(test.accuracy(personal).mean() - 0.5) < 0.05
    assert problem.accuracy(personal).mean() > 0.8
