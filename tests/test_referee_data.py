"""One answer on every route and no number where there is none: draws without replacement, far and tiny data, balls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.expectations.enumerated_runs import enumerate_run
from pfl_theory.judging.exact_runs import exact_run, quadratic_balls
from pfl_theory.losses.noise import FiniteNoise, Flat, Noise
from pfl_theory.losses.piecewise import Curve, Piecewise

# --- batches without replacement: recursion, enumeration and the algorithm itself give one answer ---

NOISE = {2: [[-0.5], [0.5]], 3: [[-0.5], [-0.25], [0.75]]}


def noisy_run(data: int, batch: int, *, replace: bool = False, rounds: int = 1):
    """Two users of constant curvature where the run comes, alpha = .25, tau = 2, one of them a round."""
    x = np.array([-8.0, -4.0, 4.0, 8.0])
    curves = [Curve(x, np.array([0.0, h, h, 0.0]), centre, 0.0) for h, centre in ((1.0, -1.0), (0.5, 1.0))]
    problem = pfl.Problem.from_curves(Piecewise(curves, FiniteNoise(np.array(NOISE[data]), [Flat()])))
    algorithm = pfl.PerFedAvg(0.25, 0.1, 2, 1, batch, batch, None, replace=replace)
    return pfl.Instance(problem, 0.25, None, "noisy", algorithm, rounds=rounds, w0=np.ones(1))


@pytest.mark.parametrize(("data", "batch"), [(2, 1), (2, 2), (3, 2), (3, 3)])
@pytest.mark.parametrize("replace", [False, True])
def test_one_answer_on_every_route(data, batch, replace):
    instance = noisy_run(data, batch, replace=replace)
    assert quadratic_balls(instance) is not None
    by_recursion = exact_run(instance).M2
    enumerated = enumerate_run(instance.problem, instance.algorithm, 0.25, 1, 1.0).M2
    assert by_recursion.lower <= enumerated.upper
    assert enumerated.lower <= by_recursion.upper
    assert by_recursion.rad < 1e-12
    means = np.array(
        [
            pfl.run(
                instance.algorithm,
                instance.problem,
                rounds=1,
                w0=instance.w0,
                seed=seed,
                record="local_gradient",
                alpha=0.25,
            )
            .records["local_gradient_norm2"][:-1]
            .mean()
            for seed in range(300)
        ]
    )
    assert abs(means.mean() - float(by_recursion.mid)) < 5 * means.std(ddof=1) / np.sqrt(len(means)) + 1e-12


def test_a_whole_batch_without_replacement_has_no_noise():
    whole, exact = noisy_run(2, 2), noisy_run(2, 2)
    exact = dataclasses.replace(exact, algorithm=pfl.PerFedAvg(0.25, 0.1, 2, 1))
    assert float(exact_run(whole).M2.mid) == pytest.approx(float(exact_run(exact).M2.mid), rel=1e-14)
    assert float(exact_run(noisy_run(2, 2, replace=True)).M2.mid) > float(exact_run(whole).M2.mid) * (1 + 1e-6)


def test_more_than_there_is_without_replacement():
    instance = noisy_run(2, 3)
    for name in ("theorem-4.5", "theorem-4.5-full", "corollary-4.6"):
        for claim in claims.forms(name):
            assert claim.judge(instance).outcome == "NOT_APPLICABLE"
    reason = claims.get("theorem-4.5", version="corrected", form="M-i").judge(instance).reason
    assert "without replacement, but a user has 2 data" in reason
    with pytest.raises(pfl.InputError, match="without replacement needs at least 3"):
        pfl.run(instance.algorithm, instance.problem, rounds=1)


def test_a_sampler_has_no_data_to_draw_without_replacement():
    noise = Noise(gradient=lambda rng, w: rng.normal(size=w.shape))
    problem = pfl.Problem.from_functions(
        value=lambda w: (w**2).sum(1) / 2, gradient=lambda w: w, hvp=lambda w, v: v, n_users=2, dim=1, noise=noise
    )
    algorithm = pfl.FedAvg(beta=0.1, batch=2, replace=False)
    with pytest.raises(pfl.InputError, match="no data to draw without replacement"):
        pfl.run(algorithm, problem, rounds=1)


# --- every claim on every kind of problem: judged or not applicable, never an exception ---

LOSSES = pfl.losses
RNG = np.random.default_rng(0)
ROWS = [RNG.normal(size=(m, 2)) for m in (3, 4)]
TARGETS = [RNG.normal(size=len(x)) for x in ROWS]
CURVE = Curve([-4.0, -2.0, 0.0, 2.0, 4.0], [0.0, 1.0, 0.25, 1.0, 0.0], 0.2, 0.1)
FUNCTIONS = {"value": lambda w: (w**2).sum(1) / 2, "gradient": lambda w: w, "n_users": 2, "dim": 2}
NAMES = ("L", "B", "rho", "sigma_G", "sigma_H", "gamma_G", "gamma_H")


def classes(k):
    return pfl.Federation.from_arrays(ROWS, [np.arange(len(x)) % k for x in ROWS])


def rows(x=ROWS, y=None):
    return pfl.Federation.from_arrays(x, y)


KINDS = {
    "logistic": lambda: pfl.Problem(LOSSES.Logistic(), classes(2)),
    "logistic with penalties": lambda: pfl.Problem(LOSSES.Logistic(nonconvex=0.1, l2=0.1), classes(2)),
    "logistic in float32": lambda: pfl.Problem(LOSSES.Logistic(), classes(2), dtype=np.float32),
    "softmax": lambda: pfl.Problem(LOSSES.Softmax(3), classes(3)),
    "quadratic": lambda: pfl.Problem(LOSSES.Quadratic(1.0), rows()),
    "quadratic, a curvature each": lambda: pfl.Problem(
        LOSSES.Quadratic([np.eye(2), np.diag([1.0, 2.0])]), rows([ROWS[0], ROWS[0] + 1.0])
    ),
    "quadratic, one row each": lambda: pfl.Problem(LOSSES.Quadratic(1.0), rows([[[1.0, 2.0]], [[3.0, 4.0]]])),
    "least squares": lambda: pfl.Problem(LOSSES.LeastSquares(), rows(ROWS, TARGETS)),
    "log-cosh": lambda: pfl.Problem(LOSSES.LogCosh(), rows()),
    "log-cosh regression": lambda: pfl.Problem(LOSSES.LogCosh("regression"), rows(ROWS, TARGETS)),
    "cosine": lambda: pfl.Problem(LOSSES.Cosine(), rows()),
    "one row in all": lambda: pfl.Problem(LOSSES.Cosine(), rows([[[1.0, 2.0]]])),
    "curves": lambda: pfl.Problem.from_curves([CURVE, CURVE]),
    "curves with data": lambda: pfl.Problem.from_curves([CURVE], FiniteNoise(np.array([[-0.5], [0.5]]), [Flat()])),
    "functions": lambda: pfl.Problem.from_functions(**FUNCTIONS, hvp=lambda w, v: v),
    "functions without hvp": lambda: pfl.Problem.from_functions(**FUNCTIONS),
    "functions with constants": lambda: pfl.Problem.from_functions(
        **FUNCTIONS, hvp=lambda w, v: v, constants={name: pfl.Constant.exact(np.ones(2), "given") for name in NAMES}
    ),
}
RUNS = {
    "no algorithm": lambda alpha: {},
    "exact, batches": lambda alpha: {"algorithm": pfl.PerFedAvg(alpha, 0.01, 2, 1, 1, 1, 1), "rounds": 2},
    "first-order": lambda alpha: {"algorithm": pfl.PerFedAvg(alpha, 0.01, 2, 1.0, variant="first-order"), "rounds": 2},
    "hessian-free": lambda alpha: {
        "algorithm": pfl.PerFedAvg(alpha, 0.01, 2, 1.0, variant="hessian-free", delta=0.1),
        "rounds": 2,
    },
    "fedavg": lambda alpha: {"algorithm": pfl.FedAvg(beta=0.01, local_steps=2), "rounds": 2, "epsilon": 0.01},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_claim_on_every_kind(kind):
    problem = KINDS[kind]()
    points = np.array([[0.3] * problem.dim, [1.3] * problem.dim])
    judged = 0
    for made in RUNS.values():
        for alpha, ball in ((0.0, None), (0.2, (5.0, None))):
            at = pfl.Instance(problem, alpha, points, kind, ball=ball, w0=np.full(problem.dim, 0.5), **made(alpha))
            for claim in claims.all_claims():
                verdict = claim.judge(at)
                assert verdict.outcome in ("HOLDS", "INCONCLUSIVE", "NOT_APPLICABLE"), str(verdict)
                judged += verdict.outcome != "NOT_APPLICABLE"
    assert judged > 0 or kind.startswith("functions") or kind.endswith("float32")


def test_one_row_and_a_loss_without_labels_is_judged():
    at = pfl.Instance(KINDS["one row in all"](), 0.1, np.array([[0.3, 0.2]]))
    for name in ("tv-gradient", "tv-hessian", "w1-gradient", "gamma-chain"):
        for claim in claims.forms(name):
            verdict = claim.judge(at)
            if verdict.outcome != "NOT_APPLICABLE":
                assert (verdict.outcome, verdict.lhs.upper) == ("HOLDS", 0.0), str(verdict)
    assert claims.get("tv-gradient").judge(at).outcome == "HOLDS"


def test_distances_say_nothing_of_users_with_losses_of_their_own():
    """Two users of the same data and different curvatures: no distance, yet their Hessians differ."""
    problem = pfl.Problem(LOSSES.Quadratic([np.eye(2), np.diag([1.0, 2.0])]), rows([ROWS[0], ROWS[0]]))
    at = pfl.Instance(problem, 0.1, np.array([[0.3, 0.2]]), ball=(5.0, None))
    for name in ("tv-gradient", "tv-hessian", "w1-gradient", "w1-hessian", "gamma-chain"):
        for claim in claims.forms(name):
            verdict = claim.judge(at)
            assert verdict.outcome == "NOT_APPLICABLE"
            assert "must share one loss" in verdict.reason


@pytest.mark.parametrize("kind", ["quadratic", "quadratic, a curvature each", "logistic with penalties"])
def test_bias_where_gradients_grow_without_bound(kind):
    """Lemma 4.3 asks for L, rho and sigma_G, not for B: quadratics have no bias, and both sides are numbers."""
    problem = KINDS[kind]()
    alpha = 0.2
    at = pfl.Instance(problem, alpha, np.array([[0.3, 0.4]]), kind, pfl.PerFedAvg(alpha, 0.1, 1, 1.0, 2, 1, 1))
    for claim in claims.forms("lemma-4.3-bias"):
        verdict = claim.judge(at)
        if claim.version == "paper":
            assert verdict.outcome == "HOLDS"
        if verdict.outcome != "NOT_APPLICABLE":
            assert verdict.outcome == "HOLDS"
            assert np.isfinite(verdict.lhs.upper)
            if kind.startswith("quadratic"):
                assert verdict.lhs.upper < 1e-12


def test_convex_smoothness_on_a_ball_asks_for_what_lies_between():
    """Both points adapt into the ball, but it is not known of the points between them."""
    problem = pfl.Problem(LOSSES.Logistic(), classes(2))
    claim = claims.get("lemma-4.2", version="sharp", form="convex")
    points = np.array([[1.0, 0.0], [-0.6, 0.8]])
    near = pfl.Instance(problem, 0.5, points, ball=(1.2, None))
    assert "what lies between two points" in claim.judge(near).reason
    assert claim.judge(dataclasses.replace(near, ball=(3.0, None))).outcome == "HOLDS"


# --- constants: on a ball, of masses that differ a little, of tiny and far data ---


def test_exact_on_the_whole_space_is_an_upper_bound_on_a_ball():
    fed = classes(2)
    problem = pfl.Problem(LOSSES.Logistic(), fed)
    whole, small = problem.constants(), problem.constants(radius=0.01)
    assert (whole["B"].how, small["B"].how) == ("exact", "upper")
    assert small["B"].max() == whole["B"].max()
    near = float(np.linalg.norm(problem.gradient([0.01, 0.0]), axis=1).max())
    assert near < 0.9 * small["B"].max()  # indeed not attained there
    assert small["L"].how == "exact"  # at w = 0
    away = problem.constants(radius=0.01, center=[3.0, 0.0])
    assert {away[name].how for name in ("B", "L", "B_datum", "L_datum")} == {"upper"}


@pytest.mark.parametrize("kind", [k for k in KINDS if "float32" not in k and "functions" not in k])
def test_what_is_exact_on_a_ball_is_reached_there(kind):
    """An exact L or B on a small ball far away is found again by search in that ball."""
    problem = KINDS[kind]()
    center = np.full(problem.dim, 2.0)
    c = problem.constants(radius=0.5, center=center)
    rng = np.random.default_rng(1)
    away = rng.normal(size=(300, problem.dim))
    points = center + 0.5 * away / np.maximum(np.linalg.norm(away, axis=1)[:, None], 1e-300)
    largest_b = max(np.linalg.norm(problem.gradient(w), axis=1).max() for w in points)
    largest_l = max(np.abs(np.linalg.eigvalsh(problem.hessian(w))).max() for w in points[:50])
    for name, found in (("B", largest_b), ("L", largest_l)):
        assert found <= c[name].max() * (1 + 1e-9)
        if c[name].how == "exact":
            assert found >= 0.99 * c[name].max()


def test_constants_of_curves_on_a_ball_are_upper_bounds():
    c = pfl.Problem.from_curves([CURVE]).constants(radius=0.1)
    assert {c[name].how for name in ("B", "L", "rho")} == {"upper"}
    assert c["sigma_G"].how == "exact"  # 0


def test_masses_that_differ_a_little_are_not_shared():
    """Hessians of users whose masses differ by 9e-13 at rows of 1e8 differ by thousands."""
    x = np.array([[1e8], [2e8]])
    p = 9e-13
    masses = np.array([0.5 + p, 0.5 - p, 0.5 - p, 0.5 + p])
    fed = pfl.Federation(np.vstack([x, x]), np.array([0, 1, 0, 1]), masses, np.array([0, 2, 4]))
    problem = pfl.Problem(LOSSES.Logistic(), fed)
    found = problem.constants()["gamma_H"]
    assert found.how != "exact"
    assert problem.gamma_H([0.0]) == pytest.approx(0.25 * p * 3e16, rel=1e-3)  # |E_1 x^2 - E x^2| / 4 at w = 0
    assert found.max() >= problem.gamma_H([0.0])
    same = pfl.Federation.from_arrays([x, x[::-1]], [[0, 1], [1, 0]])
    assert pfl.Problem(LOSSES.Logistic(), same).constants()["gamma_H"].how == "exact"


@pytest.mark.parametrize("power", [-540, -500, -300, 300, 500])
@pytest.mark.parametrize(
    "kind", ["logistic", "softmax", "quadratic", "least squares", "log-cosh", "log-cosh regression"]
)
def test_no_constant_underflows_to_0(kind, power):
    base = KINDS[kind]()
    fed = base.federation
    scaled = pfl.Federation(np.ldexp(fed.x, power), fed.y, fed.weights, fed.offsets)
    with np.errstate(all="ignore"):
        usual, found = base.constants(radius=1.0), pfl.Problem(base.loss, scaled).constants(radius=1.0)
    for name, c in found.items():
        if usual[name].max() > 0:
            assert c.max() > 0, name
        if c.usable and usual[name].usable and power < 0:
            assert c.max() <= usual[name].max() or name in ("B", "B_datum", "lip_gradient_z")


def test_a_small_difference_beside_a_large_number_is_not_0():
    x = [[[1.0, 0.0]], [[1.0, 1e-200]]]
    c = pfl.Problem(LOSSES.Quadratic(1.0), rows(x)).constants()
    assert c["gamma_G"].max() == pytest.approx(0.5e-200)
    one = pfl.Problem(LOSSES.Quadratic(1.0), rows([[[1.0, 0.0], [1.0, 1e-200]]])).constants()
    assert one["sigma_G"].max() == pytest.approx(0.5e-200)


# --- extrema of F'' whatever the unit of w ---


@pytest.mark.parametrize("power", [-100, -40, 0, 40, 100])
def test_smoothness_of_f_in_any_unit(power):
    """f(w / s) s^2: the same F'' in another unit of w."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        k = int(rng.integers(3, 8))
        x = np.cumsum(rng.exponential(1.0, k) + 0.02)
        h = rng.normal(size=k)
        h[0] = h[-1] = 0.0
        s = 2.0**power
        usual, found = Curve(x, h, x[1], 0.3), Curve(x * s, h, x[1] * s, 0.3 * s)
        value, error = usual.meta_smoothness(0.4)
        assert found.meta_smoothness(0.4)[0] == pytest.approx(value, rel=1e-12, abs=error)
        w = np.linspace(x[0] - 2, x[-1] + 2, 20001)
        f2 = (1 - 0.4 * usual.hessian(w)) ** 2 * usual.hessian(w - 0.4 * usual.gradient(w))
        third = np.diff(h) / np.diff(x)
        inside = (w > x[0]) & (w < x[-1])
        slope = np.where(inside, third[np.clip(np.searchsorted(x, w) - 1, 0, k - 2)], 0.0)
        f2 -= 0.4 * slope * usual.gradient(w - 0.4 * usual.gradient(w))
        assert np.abs(f2).max() <= value + error + 1e-9
        assert np.abs(f2).max() >= 0.98 * value
