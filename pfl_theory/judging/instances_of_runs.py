"""Runs on users made from rows: the logistic users of the README, and quadratic users on a ball."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..federations.federation import Federation
from ..losses.logistic import Logistic
from ..losses.quadratic import Quadratic
from ..losses.softmax import Softmax
from ..problems.problem import Problem
from ..seeds import generator
from .instance import Instance
from .run_constants import lemma_reading, sharp_reading
from .staying import reach

S = 0.1  # beta tau L_F


def logistic_users(
    variant: str = "exact",
    *,
    gamma: str = "known",
    participation: int = 3,
    rounds: int = 100,
    runs: int = 100,
    lemma: bool = False,
) -> Instance:
    """Six logistic users of 50 rows with rules of their own, d = 3, a nonconvex term, tau = 5, beta tau L_F = 1/10.

    With `lemma` the step suits the larger L_F of Lemma 4.2 as transcribed.
    """
    draw = generator(0, "logistic users")
    rules = 0.5 * draw.normal(size=(6, 3)) + draw.normal(size=3)
    x = draw.normal(size=(6, 50, 3))
    y = draw.random((6, 50)) < 1 / (1 + np.exp(-np.einsum("nmd,nd->nm", x, rules)))
    problem = Problem(Logistic(nonconvex=0.05), Federation.from_arrays(x, y.astype(np.int64), name="logistic users"))
    alpha = 0.2 / problem.constants()["L"].max()

    def at(beta: float) -> Instance:
        if variant == "fedavg":
            algorithm: PerFedAvg | FedAvg = FedAvg(beta, 5, participation, 4)
        else:
            third = None if variant == "first-order" else 4
            algorithm = PerFedAvg(alpha, beta, 5, participation, 4, 4, third, variant)
        name = f"six logistic users, {variant}, {participation} a round, gamma {gamma}"
        return Instance(problem, alpha, None, name, algorithm, rounds=rounds, w0=np.zeros(3), runs=runs, gamma=gamma)

    reading = (lemma_reading if lemma else sharp_reading)(at(1.0))
    return at(S / 5 / reading.L_F)


def quadratic_users(*, participation: int = 2, runs: int | None = None, rounds: int = 500) -> Instance:
    """Three quadratic users with noise on the ball that their run does not leave: exact, or judged by runs."""
    rows = [[[-1.0, 0.5], [2.0, 0.0]], [[1.0, 1.0], [0.0, -1.0]], [[0.5, -0.5], [0.0, 2.0]]]
    problem = Problem(Quadratic([[1.0, 0.2], [0.2, 0.8]]), Federation.from_arrays(rows, name="quadratic users"))
    algorithm = PerFedAvg(0.3, 0.02, 3, participation, 1, 1, 1)
    name = f"three quadratic users on a ball, {participation} a round"
    base = Instance(problem, 0.3, None, name, algorithm, (1.0, None), rounds, np.array([2.0, -1.0]), runs)
    return dataclasses.replace(base, ball=(reach(base).radius, None))


def femnist_writers(*, writers: int = 10, rounds: int = 60, runs: int = 100) -> Instance:
    """Softmax on the digits of real writers, two of ten a round."""
    from ..datasets import local
    from ..federations.writers import writers as users_of

    fed = users_of(local("femnist"), n_users=writers, digits_only=True)
    problem = Problem(Softmax(10), fed)
    alpha = 0.2 / problem.constants()["L"].max()

    def at(beta: float) -> Instance:
        algorithm = PerFedAvg(alpha, beta, 5, 2, 10, 10, 10)
        name = f"softmax on the digits of {writers} writers of FEMNIST, 2 a round"
        return Instance(problem, alpha, None, name, algorithm, rounds=rounds, w0=np.zeros(problem.dim), runs=runs)

    return at(S / 5 / sharp_reading(at(1.0)).L_F)
