"""A backward operator for functions of one variable: E F(w_K) and its likes by Chebyshev interpolation of one round's
conditional expectation, independent of every forward recursion.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfl_theory.algorithms.algorithm import Algorithm, participants
from pfl_theory.errors import require
from pfl_theory.problems.problem import Problem


class Backward(NamedTuple):
    """Values u_k(w0), the t-average of E |F'(wbar_{k+1,t})|^2 for k = 0 .. K - 1, and the ends between which the
    stationary value lies.

    `lower` and `upper` are the least and largest value of u_k over the nodes, for each k.
    """

    values: NDArray
    lower: NDArray
    upper: NDArray


def backward(
    problem: Problem, algorithm: Algorithm, *, rounds: int, w0: float, interval: tuple[float, float], nodes: int = 60
) -> Backward:
    """Exact expectations for users of one variable without batch noise: functions are carried backwards, not laws
    forwards.

    u_0(w) = (1/tau) sum_t mean over A of F'(wbar_t(w; A))^2, and u_{k+1}(w) = mean over A of u_k(T_A(w)), T_A the map
    of a round of the users A. Functions are kept by their values at Chebyshev nodes of an interval that the rounds do
    not leave.

    Parameters
    ----------
    problem : Problem
        d = 1.
    algorithm : PerFedAvg or FedAvg
        Without batches; all subsets of participants are enumerated.
    rounds : int
        K.
    w0 : float
    interval : tuple of float
        Invariant under every round: checked at the nodes.
    nodes : int
        Chebyshev nodes; 40 to 60 reach machine precision for smooth users. No proof: compare two numbers of nodes.

    Raises
    ------
    InputError
        d > 1, batches, a start outside the interval, or a round that leaves it.
    """
    from scipy.interpolate import BarycentricInterpolator

    require(problem.dim == 1, f"backward: d = {problem.dim}; it is for functions of one variable")
    plan = algorithm.plan  # type: ignore[attr-defined]
    require(
        not (plan.batch_inner or plan.batch_outer or plan.batch_hessian),
        "backward: give None for the batches; batch noise is not enumerated",
    )
    low, high = interval
    require(low <= w0 <= high, f"backward: w0 = {w0} lies outside the interval [{low}, {high}]")
    n = problem.n_users
    take = participants(algorithm.participation, n)  # type: ignore[attr-defined]
    subsets = np.array(list(itertools.combinations(range(n), take)))
    at = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    first, ends = np.empty(nodes), np.empty((nodes, len(subsets)))
    for k, w in enumerate(at):
        path = _user_paths(problem, plan, float(w))  # (tau + 1, n)
        averages = path[:, subsets].mean(2)  # (tau + 1, subsets)
        slopes = np.array(
            [[_mean_meta_gradient(problem, plan.alpha, float(v)) for v in line] for line in averages[:-1]]
        )
        first[k] = (slopes**2).mean()
        ends[k] = averages[-1]
    slack = 1e-9 * (high - low)
    require(
        bool((ends >= low - slack).all() and (ends <= high + slack).all()),
        f"backward: a round leaves [{low}, {high}]; give a wider interval",
    )
    # values at the rounds' ends are linear in values at the nodes: one matrix does a round
    base = BarycentricInterpolator(at, np.eye(nodes))
    spread = base(np.clip(ends, low, high).ravel()).reshape(nodes, len(subsets), nodes).mean(1)
    values = [first]
    for _ in range(rounds - 1):
        values.append(spread @ values[-1])
    table = np.array(values)
    return Backward(table @ base(np.array([w0]))[0], table.min(1), table.max(1))


def _user_paths(problem: Problem, plan: Any, w: float) -> NDArray:
    """Iterates of every user from a common w, shape (tau + 1, n)."""
    point = np.full((problem.n_users, 1), w)
    path = [point[:, 0].copy()]
    for _ in range(plan.local_steps):
        point = point - plan.beta * _direction(problem, plan, point)
        path.append(point[:, 0].copy())
    return np.array(path)


def _direction(problem: Problem, plan: Any, point: NDArray) -> NDArray:
    from pfl_theory.algorithms.local_steps import FIRST_ORDER, HESSIAN_FREE

    if plan.alpha == 0:
        return problem.gradient(point)
    if plan.variant == FIRST_ORDER:
        return problem.gradient(problem.adapted(point, plan.alpha))
    if plan.variant == HESSIAN_FREE:
        v = problem.gradient(problem.adapted(point, plan.alpha))
        return v - plan.alpha * (
            problem.gradient(point + plan.delta * v) - problem.gradient(point - plan.delta * v)
        ) / (2 * plan.delta)
    return problem.meta_gradient(point, plan.alpha)


def _mean_meta_gradient(problem: Problem, alpha: float, w: float) -> float:
    return float(problem.meta_gradient(np.array([w]), alpha).mean())
