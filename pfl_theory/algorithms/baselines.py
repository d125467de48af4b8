"""Baselines: FedAvg, training alone, and training on the pooled data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels.philox import choose_users
from ..problems.problem import Problem
from .algorithm import Algorithm, Round, State, checked_epochs, checked_steps, participants
from .local_steps import LocalPlan, local_steps, plain_plan


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """FedAvg: tau stochastic gradient steps of size beta on f_i, uniform average. Per-FedAvg at alpha = 0.

    Parameters
    ----------
    beta : float
        Local step, > 0.
    local_steps : int
        tau >= 1.
    participation : float or int
        Share of users a round (r n an integer), or their number.
    batch : int or None
        Batch size; None takes the exact expectation.
    replace : bool
        Whether batches are drawn with replacement.
    local_epochs : int, optional
        Work in passes over the user's shuffled rows instead of `local_steps`; needs `batch`.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> round(float(pfl.run(pfl.FedAvg(beta=0.5), problem, rounds=50).w[0]), 6)
    1.0
    """

    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None

    def __post_init__(self) -> None:
        checked_steps("FedAvg", beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs("FedAvg", self.local_epochs, self.local_steps, self.batch)

    @property
    def label(self) -> str:
        return "FedAvg"

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)

    def round(self, problem: Problem, state: State, *, seed: int, round_: int, trace: bool = False) -> Round:
        users = choose_users(problem.n_users, participants(self.participation, problem.n_users), seed, round_)
        path, _ = local_steps(problem, users, state.w[None], self.plan, seed=seed, round_=round_, trace=trace)
        return Round(State(path[-1]), path)


@dataclass(frozen=True)
class LocalTraining(Algorithm):
    """Every user trains alone on f_i; nothing is averaged. ``run.w`` is the average of the users' models, for reference
    only.

    Parameters
    ----------
    beta, local_steps, batch, replace, local_epochs
        As in :class:`FedAvg`.
    participation : float or int
        Users that train in a round.
    """

    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None

    def __post_init__(self) -> None:
        checked_steps("LocalTraining", beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs("LocalTraining", self.local_epochs, self.local_steps, self.batch)

    @property
    def label(self) -> str:
        return "local only"

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)

    def init(self, problem: Problem, w0: NDArray) -> State:
        return State(w0, np.tile(w0, (problem.n_users, 1)))

    def round(self, problem: Problem, state: State, *, seed: int, round_: int, trace: bool = False) -> Round:
        assert state.w_users is not None
        users = choose_users(problem.n_users, participants(self.participation, problem.n_users), seed, round_)
        path, final = local_steps(
            problem, users, state.w_users, self.plan, seed=seed, round_=round_, trace=trace, keep=True
        )
        models = state.w_users.copy()
        models[users] = final
        return Round(State(models.mean(0), models), path)


@dataclass(frozen=True)
class Centralized(Algorithm):
    """Stochastic gradient descent on f = (1/n) sum f_i, with all data in one place.

    Parameters
    ----------
    beta, local_steps, batch, replace, local_epochs
        As in :class:`FedAvg`; a round is `local_steps` steps.
    """

    beta: float
    local_steps: int = 1
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None

    def __post_init__(self) -> None:
        checked_steps("Centralized", beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs("Centralized", self.local_epochs, self.local_steps, self.batch)

    @property
    def label(self) -> str:
        return "centralised"

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)

    def prepare(self, problem: Problem) -> Problem:
        return problem.pooled()

    def round(self, problem: Problem, state: State, *, seed: int, round_: int, trace: bool = False) -> Round:
        path, _ = local_steps(problem, np.arange(1), state.w[None], self.plan, seed=seed, round_=round_, trace=trace)
        return Round(State(path[-1]), path)
