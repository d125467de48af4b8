"""Hypotheses of statements about a run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..expectations.batches import batch_sizes, without_replacement_failure
from ..losses.quadratic import Quadratic
from ..problems.curves import gradient_error
from .claim import Hypothesis
from .exact_runs import infimum
from .hypotheses import has_constants, in_float64
from .instance import Instance
from .run_steps import ClosedRun, has_own_direction, steps_of
from .spread_of_users import road_is_open
from .staying import stays_in_ball


def _is_run(instance: Instance) -> str | None:
    if not isinstance(instance.algorithm, (PerFedAvg, FedAvg)):
        return "the statement is about a run of Per-FedAvg or FedAvg: the instance needs algorithm= and rounds=."
    if instance.rounds is None:
        return "the instance names no number of rounds K."
    own = getattr(instance.algorithm, "alpha", instance.alpha)
    if own != instance.alpha:
        return f"the algorithm adapts with alpha = {own:g}, but F is that of alpha = {instance.alpha:g}."
    if instance.problem.kind == "functions" or isinstance(instance, ClosedRun):
        return None  # no data known one by one to draw from
    return without_replacement_failure(instance.problem, batch_sizes(instance.algorithm))


def _is_exact_variant(instance: Instance) -> str | None:
    algorithm = instance.algorithm
    if isinstance(algorithm, FedAvg):
        return None if instance.alpha == 0 else "FedAvg is Algorithm 1 only for alpha = 0."
    assert isinstance(algorithm, PerFedAvg)
    return (
        None
        if algorithm.variant == "exact"
        else f"the statement is about the exact direction, not the {algorithm.variant} one."
    )


def step_at_most(limit: float, smoothness: Any, text: str) -> Hypothesis:
    """beta tau L_F <= limit."""

    def check(instance: Instance) -> str | None:
        s = float(steps_of(instance).beta * steps_of(instance).tau * smoothness(instance))
        return None if s <= limit * (1 + 2.0**-40) else f"beta tau L_F must be at most {limit:g}: it is {s:.6g}."

    return Hypothesis(text, check)


def _bounded_below(instance: Instance) -> str | None:
    """Every f_i, as (A1) asks, and with it every F_i: curves have the slopes of f_i far away, other users a proved
    lower bound.
    """
    if instance.problem.kind != "curves":
        low = instance.problem.lower_bounds()
        lacking = np.flatnonzero(~np.isfinite(low))
        return f"no lower bound of f of user {lacking[0]} is known." if len(lacking) else None
    for i, curve in enumerate(instance.problem.family.curves):
        left, right = curve.gradient(curve.x[[0, -1]])  # f' is constant beyond the nodes
        error = gradient_error([curve])
        if left > error or right < -error:
            end, slope = ("left", left) if left > error else ("right", right)
            return f"f of user {i} is not bounded below: f' is {slope:.6g} on the far {end}."
    return None if math.isfinite(float(infimum(instance).mid)) else "F is not bounded below."


def _left_side(instance: Instance) -> str | None:
    """Whether E||grad F||^2 along the run can be had, exactly or from runs."""
    problem = instance.problem
    if isinstance(instance, ClosedRun) or problem.kind == "curves":
        return None
    if getattr(instance.algorithm, "local_epochs", None) is not None:
        return "local epochs shuffle a user's rows: given its past, a step is not an unbiased one; count local_steps."
    wrong = in_float64(instance) if problem.kind == "rows" else None
    if wrong is not None or instance.runs:
        return wrong
    if problem.kind == "rows" and isinstance(problem.loss, Quadratic) and not has_own_direction(instance):
        return None
    return "exact expectations of a run are for quadratic and piecewise users: give runs=, their number (200, say)."


def _exact_sides(instance: Instance) -> str | None:
    """Whether both sides can be had: with runs=, the spread along them and proved constants; else L_F over the whole
    space, and every expectation of the run.
    """
    problem = instance.problem
    if isinstance(instance, ClosedRun):
        return None
    if instance.runs:
        failures = (hypothesis.check(instance) for hypothesis in (*ON_ANY_PROBLEM, BOUNDED_BELOW))
        return next((failure for failure in failures if failure is not None), None)
    if problem.meta_smoothness(instance.alpha) is None or problem.kind == "functions":
        return (
            "the smoothness of F and the run's expectations are known for quadratic and piecewise users only: "
            "elsewhere give runs=, their number (200, say)."
        )
    if problem.kind == "rows" and has_own_direction(instance):
        return "on unbounded quadratics this direction has a bias without bound; piecewise users have one."
    return None


def _full(instance: Instance) -> str | None:
    s = steps_of(instance)
    return None if s.m == s.n else f"all users must take part (r = 1): here {s.m} of {s.n} do."


RUN = Hypothesis("a run of K rounds", _is_run)
RUN_CONSTANTS = has_constants("L", "B", "rho", "sigma_G", "sigma_H")
EXACT_VARIANT = Hypothesis("the exact direction of Algorithm 1", _is_exact_variant)
LEFT_SIDE = Hypothesis("the left side can be had", _left_side)
SPREAD_KNOWN = Hypothesis("gamma_G and gamma_H are known for every w", road_is_open)
STAYS = Hypothesis("the run stays in the ball of the assumptions", stays_in_ball)
ON_ANY_PROBLEM = (RUN, LEFT_SIDE, RUN_CONSTANTS, SPREAD_KNOWN, STAYS)
BOUNDED_BELOW = Hypothesis("every f_i is bounded below", _bounded_below)
EXACT_SIDES = Hypothesis("L_F and the run's expectations are known", _exact_sides)
FULL = Hypothesis("r = 1", _full)
