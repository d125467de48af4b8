"""Personalised FedAvg in three stages: FedAvg, fine-tuning by Reptile with a server optimiser, personalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..problems.problem import Problem
from .algorithm import Algorithm, Round, checked_epochs, checked_steps
from .local_steps import LocalPlan, plain_plan
from .reptile import server_round
from .server import Server, ServerState, checked_server, first_state


@dataclass(frozen=True)
class PersonalizedFedAvg(Algorithm):
    """FedAvg with server momentum, then Reptile(K) with Adam; :func:`~pfl_theory.algorithms.runner.adapt` is the third
    stage.

    Parameters
    ----------
    beta, local_steps, participation, batch, replace, local_epochs
        Stage 1, as in :class:`~pfl_theory.algorithms.baselines.FedAvg`.
    switch : int
        Rounds of stage 1, >= 0; what follows is stage 2, whose optimiser starts anew.
    fine_tune_steps : int
        K of stage 2.
    fine_tune_beta : float, optional
        Local step of stage 2; `beta` when absent.
    server, server_step, momentum : str, float, float
        The server of stage 1.
    fine_tune_server, fine_tune_server_step : str, float
        The server of stage 2.

    References
    ----------
    Jiang, Konecny, Rush and Kannan (2019), arXiv 1909.12488, Algorithm 2, as far as known (docs/theory/relatives.md).

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> stages = PersonalizedFedAvg(beta=0.5, switch=40, momentum=0.5)
    >>> w = pfl.run(stages, problem, rounds=45).w
    >>> [round(float(v), 1) for v in pfl.adapt(problem, w, alpha=0.5).ravel()]
    [0.5, 1.5]
    """

    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None
    switch: int = 1
    fine_tune_steps: int = 10
    fine_tune_beta: float | None = None
    server: str = "momentum"
    server_step: float = 1.0
    momentum: float = 0.9
    fine_tune_server: str = "adam"
    fine_tune_server_step: float = 1e-3

    def __post_init__(self) -> None:
        name = "PersonalizedFedAvg"
        checked_steps(name, beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs(name, self.local_epochs, self.local_steps, self.batch)
        checked_steps(f"{name}, fine-tuning", beta=self.second_beta, local_steps=self.fine_tune_steps)
        whole = isinstance(self.switch, (int, np.integer)) and not isinstance(self.switch, bool)
        require(whole and self.switch >= 0, f"{name}: switch = {self.switch!r}; rounds of stage 1, an integer >= 0")
        for stage in (1, 2):
            checked_server(name, self.optimiser(stage))

    @property
    def label(self) -> str:
        return "personalised FedAvg"

    @property
    def second_beta(self) -> float:
        """Local step of stage 2."""
        return self.beta if self.fine_tune_beta is None else self.fine_tune_beta

    def optimiser(self, stage: int) -> Server:
        """The server of a stage."""
        if stage == 1:
            return Server(self.server, self.server_step, self.momentum)
        return Server(self.fine_tune_server, self.fine_tune_server_step, self.momentum)

    def plan(self, stage: int) -> LocalPlan:
        """What a user does in a round of a stage, as the kernels read it."""
        if stage == 1:
            return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)
        return plain_plan(self.second_beta, self.fine_tune_steps, self.batch, self.replace)

    def init(self, problem: Problem, w0: NDArray) -> ServerState:
        return first_state(w0)

    def round(self, problem: Problem, state: ServerState, *, seed: int, round_: int, trace: bool = False) -> Round:
        stage = 1 if round_ < self.switch else 2
        if round_ == self.switch:
            state = first_state(state.w)
        return server_round(
            problem,
            state,
            self.plan(stage),
            self.optimiser(stage),
            self.participation,
            seed=seed,
            round_=round_,
            trace=trace,
        )
