"""Algorithms: against Algorithm 1 done slowly, route against route, and what a run promises."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from reference.algorithm_1 import algorithm_1
from reference.losses import over_users, twin_of, users_of
from scipy import stats

import pfl_theory as pfl
from pfl_theory import Centralized, FedAvg, Federation, LocalTraining, PerFedAvg, Problem, adapt, run
from pfl_theory.algorithms.local_steps import averaging
from pfl_theory.losses import LeastSquares, LogCosh, Logistic, Quadratic, Softmax

VARIANTS = ("exact", "first-order", "hessian-free")
A = np.array([[1.5, 0.2, 0.0], [0.2, -0.5, 0.1], [0.0, 0.1, 0.8]])
LOSSES = {
    "quadratic": Quadratic([A, np.eye(3), 2 * A, np.diag([0.0, 1.0, 2.0])]),
    "logistic": Logistic(l2=0.05, nonconvex=0.1),
    "softmax": Softmax(3, l2=0.02),
}
BATCHES = {
    "exact": {},
    "with replacement": {"batch_inner": 3, "batch_outer": 5, "batch_hessian": 2},
    "without replacement": {"batch_inner": 3, "batch_outer": 4, "batch_hessian": 2, "replace": False},
}


def federation(loss, weighted=False, seed=8, sizes=(4, 7, 5, 11), features=3):
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(m, features)) for m in sizes]
    y = [rng.integers(0, getattr(loss, "n_classes", 2), m) if loss.classifies else rng.normal(size=m) for m in sizes]
    return Federation.from_arrays(x, y, sample_weight=[rng.dirichlet(np.ones(m)) for m in sizes] if weighted else None)


def same(a, b, tolerance=1e-12):
    return a.shape == b.shape and np.abs(a - b).max() <= tolerance * np.abs(b).max()


def paths(algorithm, problem, w0, rounds, seed):
    """wbar_{k+1,t} of every round, (K, tau + 1, d)."""
    state, out = algorithm.init(algorithm.prepare(problem), np.array(w0, dtype=float)), []
    for k in range(rounds):
        state, path, _ = algorithm.round(problem, state, seed=seed, round_=k, trace=True)
        out.append(path)
    return np.array(out)


# -- against the slow reference
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("tau", [1, 4])
@pytest.mark.parametrize("variant", [*VARIANTS, "FedAvg"])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_slow_reference(name, variant, tau, batches, rng):
    loss, given = LOSSES[name], BATCHES[batches]
    for weighted in (False, True) if given.get("replace", True) else (False,):
        fed = federation(loss, weighted)
        problem = Problem(loss, fed)
        w0 = rng.normal(size=problem.dim)
        for participants in (4, 2):
            common = {"beta": 0.3, "local_steps": tau, "participation": participants}
            if variant == "FedAvg":
                algorithm = FedAvg(**common, batch=given.get("batch_outer"), replace=given.get("replace", True))
            else:
                algorithm = PerFedAvg(0.4, **common, **given, variant=variant, delta=0.05)
            got = paths(algorithm, problem, w0, 3, seed=11)
            exact = algorithm_1(
                twin_of(loss),
                fed,
                w0,
                alpha=0.0 if variant == "FedAvg" else 0.4,
                beta=0.3,
                tau=tau,
                rounds=3,
                seed=11,
                participants=participants,
                sizes=(
                    None if variant == "FedAvg" else given.get("batch_inner"),
                    given.get("batch_outer"),
                    given.get("batch_hessian"),
                ),
                replace=given.get("replace", True),
                variant="first-order" if variant == "FedAvg" else variant,
                delta=0.05,
            )
            # 1 / (2 delta) = 10 enlarges the rounding of two gradients
            assert same(got, exact), (weighted, participants)
            assert np.array_equal(
                run(algorithm, problem, rounds=3, w0=w0, seed=11).w, paths(algorithm, problem, w0, 3, seed=11)[-1, -1]
            )


@pytest.mark.parametrize("which", [0, 1, 2])
def test_each_batch_may_be_exact_by_itself(which):
    loss, fed = LOSSES["logistic"], federation(LOSSES["logistic"], weighted=True)
    sizes = [3, 5, 2]
    sizes[which] = None
    algorithm = PerFedAvg(0.4, 0.3, local_steps=2, batch_inner=sizes[0], batch_outer=sizes[1], batch_hessian=sizes[2])
    exact = algorithm_1(
        twin_of(loss), fed, np.ones(3), alpha=0.4, beta=0.3, tau=2, rounds=2, seed=0, participants=4, sizes=tuple(sizes)
    )
    assert same(paths(algorithm, Problem(loss, fed), np.ones(3), 2, seed=0), exact)


# -- route against route
# -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [LeastSquares(), LogCosh("regression", 1.3), Logistic(l2=0.2)], ids=lambda loss: loss.name
)
@pytest.mark.parametrize("tau", [1, 4])
def test_gram_steps_equal_row_steps(loss, tau, rng):
    fed = federation(loss, weighted=True, sizes=(2, 5, 3, 6), features=24)
    gram, rows = Problem(loss, fed), Problem(loss, fed)
    rows.oracle.__dict__["gram"] = None
    assert gram.oracle.gram is not None
    starts = rng.normal(size=(2, 24)) / 4
    for w0 in starts:
        for algorithm in (
            *(PerFedAvg(0.02, 0.03, tau, participation=p, variant=v, delta=0.1) for v in VARIANTS for p in (1.0, 3)),
            FedAvg(0.03, tau),
        ):
            fast, slow = (paths(algorithm, problem, w0, 3, seed=1) for problem in (gram, rows))
            assert same(fast, slow)
            assert np.abs(fast[-1, -1] - w0).max() > 1e-3
        for keeps in (LocalTraining(0.03, tau), LocalTraining(0.03, tau, participation=2)):
            assert same(*(run(keeps, problem, rounds=3, w0=w0).w_users for problem in (gram, rows)))
    assert same(adapt(gram, starts[0], alpha=0.05, steps=3), adapt(rows, starts[0], alpha=0.05, steps=3))


def test_gram_matrices_are_kept_only_where_they_fit(rng):
    def gram(loss, size, **keywords):
        return Problem(
            loss, Federation.from_arrays(rng.normal(size=(3, size, 10)), rng.integers(0, 2, (3, size))), **keywords
        ).oracle.gram

    assert gram(Logistic(), 4) is not None  # 3 * 16 numbers against 120
    assert gram(Logistic(), 5) is None  # 75 against 150: more than 0.45
    assert gram(Logistic(nonconvex=0.1), 4) is None
    assert gram(Softmax(2), 4) is None
    assert gram(Logistic(), 4, dtype="float32") is None
    flat, starts = gram(LeastSquares(), 4)
    assert (flat.shape, starts.tolist()) == ((48,), [0, 16, 32, 48])


def as_functions(problem):
    return Problem.from_functions(
        problem.value, problem.gradient, problem.hvp, n_users=problem.n_users, dim=problem.dim
    )


@pytest.mark.parametrize("name", LOSSES)
def test_functions_equal_rows_for_exact_expectations(name, rng):
    problem = Problem(LOSSES[name], federation(LOSSES[name], weighted=True))
    functions, w0 = as_functions(problem), rng.normal(size=problem.dim)
    for algorithm in (
        *(PerFedAvg(0.4, 0.3, 3, participation=2, variant=v, delta=0.05) for v in VARIANTS),
        FedAvg(0.3, 3),
        *([] if name == "quadratic" else [Centralized(0.3, 2)]),
    ):
        asked = {"rounds": 3, "w0": w0, "seed": 2, "record": ["meta_value", "meta_gradient", "local_gradient"]}
        rows, slow = run(algorithm, problem, **asked), run(algorithm, functions, **asked)
        assert same(slow.w, rows.w)
        for key, values in rows.records.items():
            assert np.allclose(slow.records[key], values, rtol=1e-10, atol=0, equal_nan=True)
    assert same(
        run(LocalTraining(0.3, 2, participation=3), functions, rounds=3, w0=w0).w_users,
        run(LocalTraining(0.3, 2, participation=3), problem, rounds=3, w0=w0).w_users,
    )
    assert same(adapt(functions, w0, alpha=0.3, steps=2), adapt(problem, w0, alpha=0.3, steps=2))


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_fedavg_is_per_fedavg_at_alpha_zero(batch, variant, rng):
    loss = LOSSES["softmax"]
    problem, w0 = Problem(loss, federation(loss)), rng.normal(size=9)
    per = PerFedAvg(
        0.0, 0.3, 3, participation=2, batch_inner=batch, batch_outer=batch, batch_hessian=batch, variant=variant
    )
    plain = FedAvg(0.3, 3, participation=2, batch=batch)
    assert np.array_equal(run(per, problem, rounds=4, w0=w0).w, run(plain, problem, rounds=4, w0=w0).w)
    wide = Problem(Logistic(), federation(Logistic(), sizes=(2, 3), features=20))
    assert wide.oracle.gram is not None
    per, plain = PerFedAvg(0.0, 0.3, 3, variant=variant), FedAvg(0.3, 3)
    assert np.array_equal(run(per, wide, rounds=4, w0=np.ones(20)).w, run(plain, wide, rounds=4, w0=np.ones(20)).w)


# -- identities
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_one_exact_step_of_all_users_is_gradient_descent_on_F(name, rng):
    problem = Problem(LOSSES[name], federation(LOSSES[name]))
    w = rng.normal(size=problem.dim)
    got = run(PerFedAvg(0.3, 0.2), problem, rounds=5, w0=w).w
    for _ in range(5):
        w = w - 0.2 * problem.meta_gradient(w, 0.3).mean(0)
    assert same(got, w)


def test_hessian_free_is_exact_on_cubics(rng):
    """f_i(w) = sum_j a_ij w_j^3 / 6 + b_i . w: the central difference of a quadratic gradient has no error."""
    a, b = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    cubic = Problem.from_functions(
        lambda w: (a * w**3 / 6 + b * w).sum(1), lambda w: a * w**2 / 2 + b, lambda w, v: a * w * v, n_users=3, dim=2
    )
    exact, free, first = (
        run(PerFedAvg(0.3, 0.1, 2, variant=v, delta=0.25), cubic, rounds=3, w0=[0.4, -0.3]).w
        for v in ("exact", "hessian-free", "first-order")
    )
    assert same(free, exact, 1e-13)
    assert not same(first, exact, 1e-3)


def test_centralised_is_gradient_descent_on_f_and_local_only_stays_alone(rng):
    loss = LOSSES["logistic"]
    problem, w0 = Problem(loss, federation(loss, weighted=True)), rng.normal(size=3)
    w, alone = w0, np.tile(w0, (4, 1))
    for _ in range(6):
        w = w - 0.2 * problem.gradient(w).mean(0)
        alone = alone - 0.2 * problem.gradient(alone)
    assert same(run(Centralized(0.2, 2), problem, rounds=3, w0=w0).w, w)
    trained = run(LocalTraining(0.2, 2), problem, rounds=3, w0=w0)
    assert same(trained.w_users, alone)
    assert same(trained.w, alone.mean(0))
    assert run(Centralized(0.2), problem, rounds=1, w0=w0).w_users is None


def test_centralised_with_a_matrix_a_user():
    problem, w = Problem(LOSSES["quadratic"], federation(LOSSES["quadratic"])), np.ones(3)
    got = run(Centralized(0.2), problem, rounds=3, w0=w).w
    for _ in range(3):
        w = w - 0.2 * problem.gradient(w).mean(0)
    assert same(got, w)


def test_local_only_trains_the_chosen_users_only():
    problem = Problem(Quadratic(), federation(Quadratic()))
    models = run(LocalTraining(0.1, participation=1), problem, rounds=1, seed=3).w_users
    assert (np.abs(models).max(1) > 0).sum() == 1


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_adapt(name, steps, rng):
    problem = Problem(LOSSES[name], federation(LOSSES[name], weighted=True))
    w = rng.normal(size=problem.dim)
    before, models = w.copy(), np.tile(w, (4, 1))
    for _ in range(steps):
        models = models - 0.3 * over_users(twin_of(problem.loss), "gradient", problem.federation, models)
    assert same(adapt(problem, w, alpha=0.3, steps=steps), models)
    assert same(adapt(problem, np.tile(w, (4, 1)), alpha=0.3, steps=steps), models)
    assert np.array_equal(w, before)
    assert np.array_equal(adapt(problem, w, alpha=0.0), np.tile(w, (4, 1)))
    drawn = [adapt(problem, w, alpha=0.3, batch=2, seed=s) for s in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


# -- records
# -------------------------------------------------------------------------------------------------------------


def test_records_against_direct_evaluation(rng):
    loss, alpha, tau = LOSSES["softmax"], 0.4, 3
    fed, test = federation(loss), federation(loss, seed=9)
    problem, scored, w0 = Problem(loss, fed), Problem(loss, test), rng.normal(size=9)
    algorithm = PerFedAvg(alpha, 0.3, tau, participation=2)
    every = run(
        algorithm,
        problem,
        rounds=5,
        w0=w0,
        seed=4,
        test=scored,
        record=["meta_value", "meta_gradient", "local_gradient", "loss", "accuracy"],
    )
    steps = paths(algorithm, problem, w0, 5, seed=4)
    models = np.concatenate([[w0], steps[:, -1]])
    twin = twin_of(loss)

    def meta_gradient(w):
        g = over_users(twin, "gradient", fed, w - alpha * over_users(twin, "gradient", fed, w))
        return (g - alpha * over_users(twin, "hvp", fed, w, g)).mean(0)

    def scores(w, name):
        return over_users(twin, name, test, w)

    personal = [w - alpha * over_users(twin, "gradient", fed, w) for w in models]
    expected = {
        "meta_value": np.array([over_users(twin, "value", fed, p).mean() for p in personal]),
        "gradient_norm2": np.array([(meta_gradient(w) ** 2).sum() for w in models]),
        "loss_before": np.array([scores(w, "value") for w in models]),
        "loss_after": np.array([scores(p, "value") for p in personal]),
        "accuracy_before": np.array([scores(w, "accuracy") for w in models]),
        "accuracy_after": np.array([scores(p, "accuracy") for p in personal]),
        "local_gradient_norm2": np.array(
            [[(meta_gradient(w) ** 2).sum() for w in path[:-1]] for path in steps] + [[np.nan] * tau]
        ),
    }
    assert every.rounds.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(every.records) == set(expected)
    for name, values in expected.items():
        assert every.records[name].shape == values.shape, name
        assert np.allclose(every.records[name], values, rtol=1e-11, atol=1e-15, equal_nan=True), name
    assert np.array_equal(every.records["local_gradient_norm2"][:5, 0], every.records["gradient_norm2"][:5])
    assert every.frame()["accuracy_after"].tolist() == pytest.approx(expected["accuracy_after"].mean(1).tolist())
    assert every.user_frame()["loss_after"].tolist() == pytest.approx(expected["loss_after"][-1].tolist())

    some = run(
        algorithm, problem, rounds=5, w0=w0, seed=4, test=scored, record=["meta_value", "local_gradient"], every=2
    )
    assert some.rounds.tolist() == [0, 2, 4, 5]
    assert np.array_equal(some.records["meta_value"], every.records["meta_value"][[0, 2, 4, 5]])
    assert np.array_equal(
        some.records["local_gradient_norm2"], every.records["local_gradient_norm2"][[0, 2, 4, 5]], equal_nan=True
    )


def test_alpha_of_the_records(rng):
    """FedAvg has no inner step: F is f unless the run says otherwise, and personalisation is by the step given."""
    problem, w0 = Problem(LOSSES["logistic"], federation(LOSSES["logistic"])), rng.normal(size=3)
    plain = run(FedAvg(0.1), problem, rounds=1, w0=w0, record=["meta_value", "meta_gradient"])
    given = run(FedAvg(0.1), problem, rounds=1, w0=w0, record=["meta_value", "meta_gradient", "loss"], alpha=0.5)
    assert plain.records["meta_value"][0] == problem.value(w0).mean()
    assert plain.records["gradient_norm2"][0] == pytest.approx((problem.gradient(w0).mean(0) ** 2).sum(), rel=1e-12)
    assert given.records["meta_value"][0] == problem.meta_value(w0, 0.5).mean()
    assert np.array_equal(given.records["loss_after"][0], problem.value(adapt(problem, w0, alpha=0.5)))
    assert np.array_equal(given.w, plain.w)


def test_local_only_is_scored_on_each_users_own_model(rng):
    problem = Problem(LOSSES["logistic"], federation(LOSSES["logistic"]))
    r = run(LocalTraining(0.2, 2), problem, rounds=2, record=["loss", "accuracy"])
    assert np.array_equal(r.records["loss_before"][-1], problem.value(r.w_users))
    assert np.array_equal(r.records["accuracy_before"][-1], problem.accuracy(r.w_users))


def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize(
    "algorithm",
    [
        PerFedAvg(0.4, 0.3, 3, participation=2, batch_inner=2, batch_outer=3, batch_hessian=2),
        FedAvg(0.3, 2),
        LocalTraining(0.3, batch=2),
    ],
    ids=lambda a: a.label,
)
def test_evaluation_moves_nothing(algorithm, rng):
    loss = LOSSES["softmax"]
    fed, test, w0 = federation(loss), federation(loss, seed=9), rng.normal(size=9)
    problem, scored = Problem(loss, fed), Problem(loss, test)
    before = digest(w0, *(a for f in (fed, test) for a in (f.x, f.y, f.weights, f.offsets)))
    records = [
        "meta_value",
        "loss",
        "accuracy",
        "local_gradient",
        *([] if isinstance(algorithm, LocalTraining) else ["meta_gradient"]),
    ]
    silent = run(algorithm, problem, rounds=4, w0=w0, seed=3)
    watched = run(algorithm, problem, rounds=4, w0=w0, seed=3, test=scored, record=records)
    rarely = run(algorithm, problem, rounds=4, w0=w0, seed=3, test=scored, record=records, every=3)
    assert silent.records == {}
    assert silent.w.tobytes() == watched.w.tobytes() == rarely.w.tobytes()
    if silent.w_users is not None:
        assert silent.w_users.tobytes() == watched.w_users.tobytes()
    model = watched.w if watched.w_users is None else watched.w_users
    kept = digest(model)
    (
        problem.meta_value(model, 0.3),
        problem.meta_gradient(model, 0.3),
        problem.hvp(model, model),
        problem.accuracy(model),
        adapt(problem, model, alpha=0.3),
    )
    assert digest(model) == kept
    assert digest(w0, *(a for f in (fed, test) for a in (f.x, f.y, f.weights, f.offsets))) == before


# -- runs that diverge
# -----------------------------------------------------------------------------------------------------


def test_no_row_of_a_diverging_run_holds_nan_or_infinity():
    """w is still finite when its square overflows: that record is dropped and the run says so."""
    problem = Problem(Quadratic(), Federation.from_arrays([[0.0, 1.0], [2.0]]))
    for record in (("meta_value",), ("meta_gradient", "local_gradient"), ("loss",)):
        r = run(FedAvg(beta=50.0, local_steps=2), problem, rounds=500, record=record)
        assert r.status == "diverged"
        assert np.isfinite(r.w).all()
        assert len(r.rounds) > 40  # two steps a round, 49-fold growth a step, squares overflow beyond 1e154
        assert all(len(values) == len(r.rounds) and np.isfinite(values).all() for values in r.records.values())


@pytest.mark.parametrize(
    "algorithm", [PerFedAvg(0.1, 1e60), FedAvg(1e60), Centralized(1e60), LocalTraining(1e60)], ids=lambda a: a.label
)
def test_a_run_that_diverges_says_so(algorithm):
    problem = Problem(Quadratic(), federation(Quadratic()))
    w0 = np.ones(3)
    r = run(
        algorithm,
        problem,
        rounds=20,
        w0=w0,
        record=["meta_value"]
        if isinstance(algorithm, LocalTraining)
        else ["meta_value", "meta_gradient", "local_gradient"],
    )
    assert (r.status, r.facts["rounds_asked"]) == ("diverged", 20)
    assert 0 < r.diverged_at < 10
    assert np.isfinite(r.w).all()
    last_finite = run(algorithm, problem, rounds=r.diverged_at, w0=w0)
    assert last_finite.status == "finished"
    assert np.array_equal(r.w, last_finite.w)
    assert r.rounds.tolist() in (
        list(range(r.diverged_at)),
        list(range(r.diverged_at + 1)),
    )  # the last only if its records are finite
    assert all(len(values) == len(r.rounds) for values in r.records.values())
    assert run(PerFedAvg(0.1, 0.1), problem, rounds=3).diverged_at is None


# -- same seed, same bits
# -----------------------------------------------------------------------------------------------------


def large():
    """Enough work for several pieces, so that threads share it."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, 90)
    x, y = [rng.normal(size=(m, 12)) for m in sizes], [rng.integers(0, 2, m) for m in sizes]
    return Federation.from_arrays(x, y)


@pytest.mark.parametrize("route", ["rows", "batches", "gram"])
def test_bits_do_not_depend_on_threads(route, monkeypatch):
    fed = large()
    if route == "gram":
        rng = np.random.default_rng(1)
        fed = Federation.from_arrays(rng.normal(size=(2500, 6, 24)), rng.integers(0, 2, (2500, 6)))
    problem = Problem(Logistic(), fed)
    given = {"batch_inner": 30, "batch_outer": 40, "batch_hessian": 50} if route == "batches" else {}
    algorithm = PerFedAvg(0.2, 0.3, 4, participation=0.5, **given)
    assert (problem.oracle.gram is not None) == (route == "gram")
    pieces, over_users_ = [], averaging.over_users
    monkeypatch.setattr(averaging, "over_users", lambda call, cut: (pieces.append(len(cut)), over_users_(call, cut)))
    found = {}
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("PFL_THEORY_THREADS", threads)
        r = run(
            algorithm,
            problem,
            rounds=3,
            seed=6,
            record=["meta_value", "meta_gradient", "loss", "accuracy", "local_gradient"],
        )
        found[threads] = digest(r.w, *(r.records[name] for name in sorted(r.records)))
    assert min(pieces[-3:]) >= 3, "too small a problem: the threads share nothing"
    assert len(set(found.values())) == 1
    assert run(algorithm, problem, rounds=3, seed=7).w.tobytes() != r.w.tobytes()
    assert run(algorithm, problem, rounds=3, seed=6).w.tobytes() == r.w.tobytes()


@pytest.mark.parametrize(
    "make", [lambda: Problem(LOSSES["logistic"], federation(LOSSES["logistic"])), None], ids=["rows", "noisy functions"]
)
def test_global_generators_are_not_touched(make, monkeypatch):
    def noisy():
        noise = pfl.Noise(
            gradient=lambda rng, w: rng.normal(size=w.shape), hvp=lambda rng, w, v: rng.normal(size=v.shape)
        )
        return Problem.from_functions(
            lambda w: (w**2).sum(1), lambda w: 2 * w, lambda w, v: 2 * v, n_users=4, dim=3, noise=noise
        )

    problem = (make or noisy)()
    algorithm = PerFedAvg(0.3, 0.2, 2, participation=2, batch_inner=2, batch_outer=2, batch_hessian=2)
    quiet = run(algorithm, problem, rounds=3, seed=1).w
    np.random.seed(99)  # noqa: NPY002 - the global generator is what is being tested
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    assert run(algorithm, problem, rounds=3, seed=1).w.tobytes() == quiet.tobytes()
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002

    def refuse(*args, **keywords):
        raise AssertionError("a global or unseeded generator was asked")

    import random

    for owner, names in (
        (np.random, ("rand", "randn", "random", "randint", "choice", "permutation", "shuffle", "seed", "default_rng")),
        (random, ("random", "randint", "choice", "seed")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, refuse)
    assert run(algorithm, problem, rounds=3, seed=1).w.tobytes() == quiet.tobytes()
    assert run(algorithm, problem, rounds=3, seed=2).w.tobytes() != quiet.tobytes()


# -- laws of what a run draws
# ----------------------------------------------------------------------------------------------------


def test_users_of_a_run_have_the_uniform_law():
    """Every user's gradient is a marker: w after a round of FedAvg names the users that took part."""
    n, count = 6, 2
    problem = Problem(Quadratic(), Federation.from_arrays([[[float(2**i)]] for i in range(n)]))
    state_w, counts = np.zeros(1), np.zeros(n, dtype=int)
    algorithm = FedAvg(1.0, participation=count)
    for k in range(2000):
        code = round(
            count * float(algorithm.round(problem, algorithm.init(problem, state_w), seed=1, round_=k)[0].w[0])
        )
        taken = [i for i in range(n) if code >> i & 1]
        assert len(taken) == count
        counts[taken] += 1
    assert stats.chisquare(counts).pvalue > 1e-4
    assert (
        stats.chisquare(np.append(counts[1:], 0) + 1e-9, np.full(n, counts[1:].sum() / n)).pvalue < 1e-12
    )  # a user never drawn is noticed


@pytest.mark.parametrize("weights", [None, [0.5, 0.05, 0.3, 0.15]])
@pytest.mark.parametrize("step", [0, 1])
def test_batches_of_a_run_have_the_users_law(weights, step):
    """One datum a batch and beta = 1 on (1/2)(w - z)^2: w is the row that was drawn at that local step."""
    problem = Problem(
        Quadratic(),
        Federation.from_arrays([[[0.0], [1.0], [2.0], [3.0]]], sample_weight=None if weights is None else [weights]),
    )
    algorithm = FedAvg(1.0, step + 1, batch=1)
    rows = [
        round(float(algorithm.round(problem, algorithm.init(problem, np.zeros(1)), seed=2, round_=k)[0].w[0]))
        for k in range(2000)
    ]
    counts, law = np.bincount(rows, minlength=4), np.full(4, 0.25) if weights is None else np.array(weights)
    assert stats.chisquare(counts, 2000 * law).pvalue > 1e-4
    assert stats.chisquare(np.roll(counts, 1), 2000 * law).pvalue < (1e-12 if weights else 2)


def test_the_three_batches_are_independent():
    """The rows of D, D', D'' of one step, read off the slow twin that the kernels were shown to follow."""
    from reference.draws import batch

    triples = np.array(
        [[batch([0.25] * 4, 1, seed=5, round_=k, user=0, step=0, which=b)[0] for b in range(3)] for k in range(3000)]
    )
    for a, b in ((0, 1), (0, 2), (1, 2)):
        table = np.histogram2d(triples[:, a], triples[:, b], bins=4)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-4
    assert stats.chi2_contingency(np.histogram2d(triples[:, 0], triples[:, 0], bins=4)[0]).pvalue < 1e-12


def test_users_of_gives_real_features():
    fed = Federation.from_arrays([np.array([[0, 255]], dtype=np.uint8)], scale=1 / 255)
    assert users_of(fed)[0][0].tolist() == [[0.0, 1.0]]
