"""The judging of claims, and Lemma 4.2."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.claims import lemma_4_2 as lemma
from pfl_theory.errors import InputError
from pfl_theory.judging.claim import Sides, compare
from pfl_theory.judging.hypotheses import bound
from pfl_theory.losses.piecewise import Curve, random_piecewise
from pfl_theory.rigour.interval import Interval
from pfl_theory.theory import lemmas

# alpha, L, rho, B, |F''(w+)|, ratio to the transcribed bound, ratio to the sharp bound: computed with pencil from the
# witness
WITNESSES = [
    (1, 1, 0.6, 1, 4.1, 0.891304, 0.891304),
    (1, 1, 4, 1, 7.5, 0.937500, 0.937500),
    (1, 1, 100, 1, 103.5, 0.995192, 0.995192),
    (0.5, 1, 4, 1, 4.0, 0.666667, 0.941176),
    (0.1, 2, 3, 5, 4.18, 0.440000, 0.954338),
    (0.01, 1, 20, 3, 1.6151, 0.351109, 0.996914),
]


@pytest.mark.parametrize(("alpha", "L", "rho", "B", "value", "to_paper", "to_sharp"), WITNESSES)
def test_witness_values(alpha, L, rho, B, value, to_paper, to_sharp):
    instance = lemma.witness(alpha, L, rho, B)
    found = {name: instance.constants[name].max() for name in ("L", "rho", "B")}
    assert found == pytest.approx({"L": L, "rho": rho, "B": B}, rel=1e-12)
    left, scope = lemma.left_side(instance)
    assert scope == "all w"
    assert left.lower <= value * (1 + 1e-12)
    assert left.upper >= value * (1 - 1e-12)
    assert value / lemmas.smoothness_paper(alpha, L, rho, B) == pytest.approx(to_paper, abs=1e-6)
    assert value / lemmas.smoothness_sharp(alpha, L, rho, B) == pytest.approx(to_sharp, abs=1e-6)
    assert value == pytest.approx(lemmas.smoothness_one_dimensional(alpha, L, rho, B), rel=1e-12)


def test_best_ratio_at_alpha_one_over_L():
    for kappa in (0.6, 1.0, 5.0, 50.0):
        left, _ = lemma.left_side(lemma.witness(1.0, 1.0, kappa, 1.0))
        assert left.middle / lemmas.smoothness_paper(1.0, 1.0, kappa, 1.0) == pytest.approx(
            (3.5 + kappa) / (4 + kappa), rel=1e-9
        )


def test_landau_and_the_witness_need_room():
    landau = Curve([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    assert landau.curvature == pytest.approx(math.sqrt(2 * landau.third * landau.steepest))
    with pytest.raises(InputError, match="rho B"):
        lemma.witness(1.0, 1.0, 0.4, 1.0)


def test_exact_smoothness_against_a_fine_grid():
    rng = np.random.default_rng(5)
    for _ in range(40):
        family = random_piecewise(rng)
        alpha = rng.uniform(0, 1.5)
        exact, error = family.meta_smoothness(alpha)
        for curve, top, allowance in zip(family.curves, exact, error, strict=True):
            w = np.linspace(curve.x[0] - 3, curve.x[-1] + 3, 20_001)
            derivative = (1 - alpha * curve.hessian(w)) * curve.gradient(w - alpha * curve.gradient(w))
            slopes = np.abs(np.diff(derivative) / np.diff(w))
            assert slopes.max() <= top + allowance + 1e-8 * top
            assert slopes.max() >= 0.97 * top  # the grid comes close: the supremum is not too large either


def test_exact_smoothness_of_quadratics():
    fed = pfl.Federation.from_arrays([[[0.0, 0.0], [1.0, 2.0]]])
    problem = pfl.Problem(pfl.losses.Quadratic([[2.0, 0.0], [0.0, -1.0]]), fed)
    values, errors = problem.meta_smoothness(0.5)
    assert values == pytest.approx([2.25])
    assert errors.max() < 1e-12
    w, u = np.zeros(2), np.array([0.0, 1.0])  # along the concave direction
    quotient = np.linalg.norm(problem.meta_gradient(u, 0.5) - problem.meta_gradient(w, 0.5))
    assert quotient == pytest.approx(2.25)


def test_landau_cut_in_the_one_dimensional_bound():
    assert lemmas.smoothness_one_dimensional(1.0, 10.0, 1.0, 0.5) == lemmas.smoothness_one_dimensional(
        1.0, 1.0, 1.0, 0.5
    )


def test_a_too_small_right_side_is_violated_at_points():
    """On real rows, by points: dividing the right side by more than the measured slack must come out VIOLATED."""
    instance = next(c for c in claims.get("lemma-4.2").cases if c.name == "logistic").make()
    verdict = claims.get("lemma-4.2").judge(instance)
    assert verdict.scope == "points"
    assert claims.get("lemma-4.2").judge(instance, factor=0.99 * verdict.ratio).outcome == "VIOLATED"


def test_rounding_allowance_covers_higher_precision():
    """The computed meta-gradient is within its derived error of one in extended precision."""
    rng = np.random.default_rng(3)
    X, y = [rng.normal(size=(40, 3))], [rng.integers(0, 2, 40)]
    problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(X, y))
    instance = pfl.Instance(problem, 0.3, rng.normal(size=(2, 3)))
    x, t = X[0].astype(np.longdouble), y[0]

    def slope(w):
        return 1 / (1 + np.exp(-(x @ w)))

    for w in instance.points.astype(np.longdouble):
        g = x.T @ (slope(w) - t) / len(t)
        v = x.T @ (slope(w - np.longdouble(0.3) * g) - t) / len(t)
        s = slope(w)
        exact = v - np.longdouble(0.3) * (x.T @ (s * (1 - s) * (x @ v)) / len(t))
        error = np.linalg.norm((problem.meta_gradient(w.astype(float), 0.3)[0] - exact).astype(float))
        assert error <= lemma.meta_gradient_error(instance, float(np.linalg.norm(w.astype(float))))


def test_outcomes():
    one = Interval.rounded(1.0, operations=4)
    assert compare(one, Interval(2.0, 2.0))[0] == "HOLDS"
    assert compare(Interval(2.0, 2.0), one)[0] == "VIOLATED"
    assert compare(one, Interval.rounded(1.0, operations=8)) == (
        "HOLDS",
        "attained: both sides are 1 up to rounding.",
        True,
    )
    assert compare(Interval(0.5, 1.5), one)[0] == "INCONCLUSIVE"  # wide for another reason than rounding
    with pytest.raises(InputError, match="empty"):
        Interval(2.0, 1.0)


def test_only_constants_known_from_above_enter_a_bound():
    constants = {
        "L": pfl.Constant.lower([1.0], "searched"),
        "B": pfl.Constant.none(1, "grows"),
        "rho": pfl.Constant.exact([0.0], "linear"),
    }
    problem = pfl.Problem.from_functions(
        lambda w: w[:, 0], np.ones_like, lambda w, v: 0 * v, n_users=1, dim=1, constants=constants
    )
    instance = pfl.Instance(problem, 0.1, [[0.0], [1.0]])
    with pytest.raises(InputError, match="searched"):
        bound(instance, "L")
    with pytest.raises(InputError, match="no constant"):
        bound(instance, "sigma_G")
    verdict = claims.get("lemma-4.2").judge(instance)
    assert verdict.outcome == "NOT_APPLICABLE"
    assert "searched" in verdict.reason


def test_hypotheses_say_by_how_much():
    verdict = claims.get("lemma-4.2").judge(pfl.Instance(lemma.witness().problem, 2.0))
    assert verdict.outcome == "NOT_APPLICABLE"
    assert "2 times 1/L" in verdict.reason


def test_points_are_needed_where_nothing_is_exact():
    rng = np.random.default_rng(0)
    problem = pfl.Problem(
        pfl.losses.Logistic(), pfl.Federation.from_arrays([rng.normal(size=(5, 2))], [[0, 1, 0, 1, 1]])
    )
    with pytest.raises(InputError, match="two or more points"):
        claims.get("lemma-4.2").judge(pfl.Instance(problem, 0.1))
    with pytest.raises(InputError, match="equal"):
        claims.get("lemma-4.2").judge(pfl.Instance(problem, 0.1, [[1.0, 1.0], [1.0, 1.0]]))


def test_ball_makes_bounded_constants():
    fed = pfl.Federation.from_arrays([[[1.0], [2.0]]])
    problem = pfl.Problem(pfl.losses.Quadratic(1.0), fed)
    verdict = claims.get("lemma-4.2").judge(pfl.Instance(problem, 0.5, ball=(3.0, None)))
    assert verdict.outcome == "HOLDS"
    assert (
        claims.get("lemma-4.2", "sharp", "one-dimensional").judge(pfl.Instance(problem, 0.5, ball=(3.0, None))).outcome
        == "NOT_APPLICABLE"
    )


def test_instances_survive_a_file(tmp_path):
    rng = np.random.default_rng(1)
    witness = lemma.witness()
    rows = pfl.Problem(
        pfl.losses.Logistic(l2=0.5),
        pfl.Federation.from_arrays([rng.normal(size=(6, 2)) for _ in range(2)], [rng.integers(0, 2, 6)] * 2),
    )
    given = pfl.Instance(rows, 0.1, rng.normal(size=(3, 2)), "mine", ball=(2.0, None))
    large = pfl.Instance(
        pfl.Problem(
            pfl.losses.Softmax(3), pfl.Federation.from_arrays([rng.normal(size=(300, 90))], [rng.integers(0, 3, 300)])
        ),
        0.1,
        name="large",
    )
    for k, instance in enumerate((witness, given, large)):
        again = pfl.Instance.load(instance.save(tmp_path / f"{k}.json"))
        w = rng.normal(size=instance.problem.dim)
        assert again.name == instance.name
        assert np.array_equal(again.problem.meta_gradient(w, 0.1), instance.problem.meta_gradient(w, 0.1))
        assert again.constants["L"].max() == instance.constants["L"].max()
    assert len(list(tmp_path.glob("2.*.npz"))) == 1
    opaque = pfl.Problem.from_functions(lambda w: w[:, 0], np.ones_like, n_users=1, dim=1)
    with pytest.raises(InputError, match="file cannot hold"):
        pfl.Instance(opaque, 0.1).save(tmp_path / "no.json")
    (tmp_path / "bad.json").write_text('{"problem": {}}')
    (tmp_path / "worse.json").write_text("not json")
    (tmp_path / "loss.json").write_text('{"alpha": 1, "problem": {"loss": {"name": "Magic"}, "federation": {}}}')
    for name in ("bad", "worse", "loss", "absent"):
        with pytest.raises(InputError) as error:
            pfl.Instance.load(tmp_path / f"{name}.json")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lhs", "least", "enough"), [((0.5, 2.0), 0.125, 2.0), ((0.0, 0.9), 0.0, 0.9), ((-1.0, 0.5), -1.0, 0.5)]
)
def test_the_ratio_of_sampled_sides_is_what_they_prove(lhs, least, enough):
    """Not the middle of the interval; and a constant that covers the instance covers the upper end."""
    sides = Sides(Interval(*lhs), Interval(1.0, 4.0), "points", level=0.99)
    claim = dataclasses.replace(claims.get("lemma-4.2"), sides=lambda at: sides)
    verdict = claim.judge()
    assert verdict.ratio == verdict.row()["ratio"] == pytest.approx(least, rel=1e-14)
    assert verdict.ratio <= least
    exact = dataclasses.replace(claim, sides=lambda at: dataclasses.replace(sides, level=None)).judge()
    assert exact.ratio == pytest.approx(sum(lhs) / 5)
    if lhs[1] <= 1.0:
        left_open = dataclasses.replace(claim, open_constant="O(1)").judge()
        assert left_open.outcome == "INCONCLUSIVE"
        assert f"O(1) = {enough:g} covers this instance" in left_open.reason


def test_an_instance_saved_again_leaves_no_file_behind(tmp_path):
    """What the old JSON named goes once the new one stands: no file of another instance, none that was put there."""
    rng = np.random.default_rng(2)

    def large(k):
        fed = pfl.Federation.from_arrays([rng.normal(size=(300, 90))], [rng.integers(0, 3, 300)])
        return pfl.Instance(pfl.Problem(pfl.losses.Softmax(3), fed), 0.1, name=f"{k}")

    def beside(stem):
        return sorted(path.name for path in tmp_path.glob(f"{stem}.*.npz"))

    first, second, third = (large(k) for k in range(3))
    first.save(tmp_path / "one.json")
    kept = beside("one")
    first.save(tmp_path / "one.json")
    assert beside("one") == kept
    first.save(tmp_path / "other.json")
    (tmp_path / "one.0123456789ab.npz").write_bytes(b"mine")
    second.save(tmp_path / "one.json")
    assert kept[0] not in beside("one")
    assert len(beside("one")) == 2
    assert len(beside("other")) == 1
    assert pfl.Instance.load(tmp_path / "one.json").name == "1"
    assert pfl.Instance.load(tmp_path / "other.json").name == "0"
    lemma.witness().save(tmp_path / "one.json")  # small: nothing beside it
    assert beside("one") == ["one.0123456789ab.npz"]
    third.save(tmp_path / "one.json")
    (tmp_path / "copy.json").write_bytes((tmp_path / "one.json").read_bytes())
    second.save(tmp_path / "one.json")
    assert pfl.Instance.load(tmp_path / "copy.json").name == "2"


def test_a_failed_save_keeps_the_old_instance_whole(tmp_path, monkeypatch):
    from pfl_theory.judging import instance as module

    rng = np.random.default_rng(3)
    feds = [pfl.Federation.from_arrays([rng.normal(size=(300, 90))], [rng.integers(0, 3, 300)]) for _ in range(2)]
    old, new = (pfl.Instance(pfl.Problem(pfl.losses.Softmax(3), fed), 0.1) for fed in feds)
    old.save(tmp_path / "one.json")

    def full(path, text):
        raise OSError("no space left")

    monkeypatch.setattr(module, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        new.save(tmp_path / "one.json")
    again = pfl.Instance.load(tmp_path / "one.json")
    assert np.array_equal(again.problem.federation.x, old.problem.federation.x)


def test_points_and_what_they_adapt_to_must_lie_in_the_ball():
    rng = np.random.default_rng(4)
    problem = pfl.Problem(
        pfl.losses.LeastSquares(), pfl.Federation.from_arrays([rng.normal(size=(9, 2))], [rng.normal(size=9)])
    )
    claim, alpha = claims.get("lemma-4.2"), 0.5 / problem.constants()["L"].max()
    outside = claim.judge(pfl.Instance(problem, alpha, [[100.0, 0.0], [100.0, 1.0]], ball=(1e-3, None)))
    assert outside.outcome == "NOT_APPLICABLE"
    assert "outside the ball" in outside.reason
    assert claim.judge(pfl.Instance(problem, alpha, [[0.1, 0.0], [0.1, 0.1]], ball=(5.0, None))).outcome == "HOLDS"


def test_a_short_step_widens_the_left_side():
    """The largest quotient is not the largest upper end: a pair a hair apart has the larger rounding."""
    rng = np.random.default_rng(4)
    problem = pfl.Problem(
        pfl.losses.Logistic(), pfl.Federation.from_arrays([rng.normal(size=(9, 1))], [rng.integers(0, 2, 9)])
    )
    near, _ = lemma.left_side(pfl.Instance(problem, 0.1, [[0.0], [1.0], [1.0 + 1e-12]]))
    far, _ = lemma.left_side(pfl.Instance(problem, 0.1, [[0.0], [1.0]]))
    assert near.upper > far.upper
    assert near.is_rounding


def test_what_cannot_be_judged_says_so():
    rng = np.random.default_rng(4)
    fed = pfl.Federation.from_arrays([rng.normal(size=(9, 1))], [rng.integers(0, 2, 9)])
    single = pfl.Problem(pfl.losses.Logistic(), fed, dtype="float32")
    verdict = claims.get("lemma-4.2").judge(pfl.Instance(single, 0.1, [[0.0], [1.0]]))
    assert (verdict.outcome, "judged in float64" in verdict.reason) == ("NOT_APPLICABLE", True)
    constants = {name: pfl.Constant.exact([1.0], "given") for name in ("L", "rho", "B")}
    functions = pfl.Problem.from_functions(
        lambda w: w[:, 0], np.ones_like, lambda w, v: 0 * v, n_users=1, dim=1, constants=constants
    )
    verdict = claims.get("lemma-4.2").judge(pfl.Instance(functions, 0.1, [[0.0], [1.0]]))
    assert (verdict.outcome, "meta_smoothness" in verdict.reason) == ("NOT_APPLICABLE", True)
    with pytest.raises(InputError, match="alpha > 0"):
        lemma.witness(0.0)


def test_rounding_of_the_exact_smoothness_covers_fractions():
    """The witness in exact fractions: the computed supremum is within its derived allowance."""
    from fractions import Fraction

    rng = np.random.default_rng(8)
    for _ in range(50):
        alpha, L, rho, B = (float(v) for v in np.exp(rng.normal(size=4)))
        if rho * B <= L**2 / 2 * 1.001:
            continue
        left, _ = lemma.left_side(lemma.witness(alpha, L, rho, B))
        a, l, r, b = (Fraction(v) for v in (alpha, L, rho, B))
        exact = (1 + a * l) ** 2 * l + a * r * b - a * l**2 / 2
        # the curve's own nodes are rounded, which is no error of the supremum: allow for it separately
        assert abs(left.middle - float(exact)) <= (left.upper - left.lower) + 1e-12 * float(exact)
