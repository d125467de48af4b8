"""A verdict that says HOLDS has seen it hold: sides that rounding leaves wide, pairs that hide behind others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.claims import Interval
from pfl_theory.claims.hessian_free_error import witness as hessian_free_witness
from pfl_theory.claims.lemma_4_2 import witness_curve
from pfl_theory.judging.claim import SMALL, Sides, compare
from pfl_theory.losses.piecewise import Curve, Piecewise


def narrow(value, error):
    return Interval.with_error(value, error)


# --- E1, E14: overlapping sides are equal only where both are narrow ---


@pytest.mark.parametrize("relative", [1e-15, 1e-9, 0.4 * SMALL])
def test_narrow_sides_are_attained(relative):
    assert compare(narrow(1.0, relative), narrow(1.0, relative))[::2] == ("HOLDS", True)


@pytest.mark.parametrize("relative", [0.6 * SMALL, 1e-3, 1.0, 1e10])
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_wide_sides_settle_nothing(relative, size):
    for lhs, rhs in ((relative, 1e-15), (1e-15, relative)):
        outcome, reason, attained = compare(narrow(size, lhs * size), narrow(size, rhs * size))
        assert (outcome, attained) == ("INCONCLUSIVE", False)
        assert "would settle it" in reason


def test_disjoint_sides_are_settled_however_wide():
    assert compare(Interval(0.0, 1.0, 1.0), Interval(2.0, 30.0, 28.0))[0] == "HOLDS"
    assert compare(Interval(2.1, 30.0, 28.0), Interval(1.0, 2.0, 1.0))[0] == "VIOLATED"


def test_converged_run_settles_nothing():
    """Lemma 4.2 at consecutive iterates of a converged run: they are 5e-13 apart or less."""
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(20, 2)) for _ in range(3)]
    fed = pfl.Federation.from_arrays(x, [(a[:, 0] + rng.normal(size=20) > 0).astype(int) for a in x])
    problem = pfl.Problem(pfl.losses.Logistic(nonconvex=0.1), fed)
    alpha = 0.5 / problem.constants()["L"].max()
    points, w = [], np.zeros(2)
    for _ in range(400):
        w = w - 0.8 * problem.meta_gradient(w, alpha).mean(0)
        points.append(w)
    last = w + 5e-13 * np.arange(40)[:, None] * np.array([0.6, 0.8])
    for version in ("paper", "sharp"):
        claim = claims.get("lemma-4.2", version=version)
        far = claim.judge(pfl.Instance(problem, alpha, np.array(points[:20])))
        near = claim.judge(pfl.Instance(problem, alpha, last))
        assert far.outcome == "HOLDS"
        assert near.outcome == "INCONCLUSIVE"
        assert not near.attained


def test_controls_at_points_next_to_one_another_never_hold():
    rng = np.random.default_rng(1)
    fed = pfl.Federation.from_arrays([rng.normal(size=(10, 2))], [rng.integers(0, 2, 10)])
    problem = pfl.Problem(pfl.losses.Logistic(), fed)
    points = np.ones(2) + 1e-11 * np.arange(5)[:, None]
    claim = claims.get("lemma-4.2", version="sharp")
    verdict = claim.judge(pfl.Instance(problem, 0.1, points), factor=1e-3)
    assert verdict.outcome in ("INCONCLUSIVE", "VIOLATED")


def test_far_points_of_a_bounded_loss():
    """tv-gradient at w = (3e15, -2e15): the left side is known to some hundreds, the right side is 1."""
    fed = pfl.Federation.from_arrays([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    problem = pfl.Problem(pfl.losses.LogCosh(), fed)
    instance = pfl.Instance(problem, 0.0, np.array([[3e15, -2e15]]))
    for version in ("paper", "sharp"):
        assert claims.get("tv-gradient", version=version).judge(instance).outcome != "VIOLATED"
        assert claims.get("tv-gradient", version=version).judge(instance, factor=1e-6).outcome != "HOLDS"


def test_far_data():
    fed = pfl.Federation.from_arrays([[[1e13]], [[1e13 + 2]]])
    instance = pfl.Instance(pfl.Problem(pfl.losses.Quadratic(), fed), 0.0, np.array([[1e13 + 1]]))
    claim = claims.get("w1-gradient", version="sharp")
    assert claim.judge(instance, factor=0.1).outcome in ("INCONCLUSIVE", "VIOLATED")


def test_zero_against_zero_needs_numbers_of_a_size():
    zero = Interval(0.0, 0.0)
    assert compare(narrow(0.0, 1e-15), zero, 1.0)[::2] == ("HOLDS", True)
    assert compare(narrow(0.0, 1e-15), zero, 1e-7)[0] == "INCONCLUSIVE"
    assert compare(narrow(0.0, 1e-15), zero)[0] == "INCONCLUSIVE"
    assert compare(narrow(1e-3, 1e-15), zero, 1.0)[0] == "VIOLATED"
    assert compare(zero, zero)[0] == "HOLDS"


# --- E2, E13: the worst pair decides ---


def orders(items):
    return (items, items[::-1], items[1:] + items[:1])


@pytest.mark.parametrize("factor", [1.0, 0.5, 1e-6])
def test_order_of_pairs_changes_nothing(factor):
    one, half, wide, nothing = (
        (narrow(1.0, 1e-15), narrow(1.5, 1e-15)),
        (narrow(0.5, 1e-15), narrow(1.0, 1e-15)),
        (Interval(0.1, 2.0, 1.9), narrow(1.5, 1e-15)),
        (Interval(0.0, 0.0), Interval(0.0, 0.0)),
    )
    for pairs in ([one, half, nothing], [one, half, wide, nothing], [half, nothing]):
        found = {Sides.over(order, "points").worst(factor) for order in orders(pairs)}
        assert len(found) == 1
        alone = [Sides.over([pair], "points").worst(factor).outcome for pair in pairs]
        expected = next(o for o in ("VIOLATED", "INCONCLUSIVE", "HOLDS") if o in alone)
        assert found.pop().outcome == expected


@pytest.mark.parametrize("version", ["paper", "sharp"])
def test_a_user_at_rest_hides_no_other(version):
    """Hessian-free error: a linear user has v = 0, and the witness decides, whichever comes first."""
    base = hessian_free_witness()
    rest = Curve(np.array([-1.0, 1.0]), np.zeros(2), 0.0, 0.0)
    claim, outcomes = claims.get("hessian-free-error", version=version), []
    for curves in ([rest, base.problem.family.curves[0]], [base.problem.family.curves[0], rest]):
        instance = dataclasses.replace(base, problem=pfl.Problem.from_curves(Piecewise(curves)))
        outcomes.append((claim.judge(instance).outcome, claim.judge(instance, factor=1e-6).outcome))
    assert outcomes == [("HOLDS", "VIOLATED")] * 2


def test_the_row_of_the_issue():
    """A user with f' = 0 beside the witness of Lemma 4.2, right side times 1e-6."""
    pair = [Curve(np.array([-1.0, 1.0]), np.zeros(2), 0.0, 0.0), witness_curve(1.0, 1.0, 4.0, 1.0)]
    claim = claims.get("hessian-free-error", version="sharp")
    algorithm = pfl.PerFedAvg(alpha=0.25, beta=0.1, variant="hessian-free", delta=0.5)
    for curves in (pair, pair[::-1]):
        problem = pfl.Problem.from_curves(Piecewise(curves))
        instance = pfl.Instance(problem, 0.25, np.linspace(-0.3, 0.6, 7)[:, None], algorithm=algorithm)
        assert claim.judge(instance).outcome == "HOLDS"
        assert claim.judge(instance, factor=1e-6).outcome == "VIOLATED"


# --- E14, E15: sizes at which products underflow or overflow ---


def scaled(power):
    """The witness of Lemma 4.2 with its variable in another unit: f(w) becomes f(w / s)."""
    base = witness_curve(1.0, 1.0, 4.0, 1.0)
    s = 2.0**power
    with np.errstate(all="ignore"):  # cubes of such numbers overflow on the way
        problem = pfl.Problem.from_curves([Curve(base.x * s, base.h / s**2, base.anchor * s, base.slope / s)])
    return pfl.Instance(problem, s**2, base.x[:, None] * s)


@pytest.mark.parametrize("version", ["paper", "sharp"])
@pytest.mark.parametrize("power", [0, -40, 40])
def test_units_change_nothing(version, power):
    claim = claims.get("lemma-4.2", version=version)
    assert claim.judge(scaled(power)).outcome == "HOLDS"
    assert claim.judge(scaled(power), factor=0.01).outcome == "VIOLATED"


@pytest.mark.parametrize("claim", claims.all_claims(), ids=lambda c: f"{c.name}-{c.version}-{c.form}")
@pytest.mark.parametrize("power", [-320, -276, -180, 180, 276, 320])
def test_extreme_units_are_said_to_be_extreme(claim, power):
    verdict = claim.judge(scaled(power))
    assert verdict.outcome in ("INCONCLUSIVE", "NOT_APPLICABLE")
    assert claim.judge(scaled(power), factor=1e-3).outcome in ("INCONCLUSIVE", "NOT_APPLICABLE")


def test_extreme_steps_and_points():
    base = scaled(0)
    for changed in ({"alpha": 1e308}, {"points": np.array([[0.0], [1e200]])}):
        instance = dataclasses.replace(base, **changed)
        verdict = claims.get("lemma-4.2", version="sharp").judge(instance)
        assert verdict.outcome == "INCONCLUSIVE"
        assert "beyond what floats can judge" in verdict.reason


def test_what_the_caller_has_set_changes_no_verdict():
    with np.errstate(all="raise"):
        assert claims.get("lemma-4.2").judge().outcome == "HOLDS"
        assert claims.get("lemma-4.2").control().outcome == "VIOLATED"
