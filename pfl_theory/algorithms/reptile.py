"""Reptile in a federation, and federated averaging as the case of plain server steps of size 1."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray

from ..kernels.philox import choose_users
from ..problems.problem import Problem
from .algorithm import Algorithm, Round, checked_epochs, checked_steps, participants
from .local_steps import LocalPlan, local_steps, plain_plan
from .server import Server, ServerState, checked_server, first_state, mean_difference, stepped


@dataclass(frozen=True)
class Reptile(Algorithm):
    """Reptile: K gradient steps of size beta a user, then a server step along the mean difference mean(theta_i - w).

    With ``server="sgd"`` and ``server_step=1`` it is :class:`~pfl_theory.algorithms.baselines.FedAvg`: in exact
    arithmetic the same model, in floats the bits of FedAvg written as w + mean(theta_i - w).

    Parameters
    ----------
    beta, local_steps, participation, batch, replace, local_epochs
        As in :class:`~pfl_theory.algorithms.baselines.FedAvg`; `local_steps` is K.
    server : {"sgd", "momentum", "adam"}
        The server's optimiser.
    server_step : float
        Its step, > 0.
    momentum : float
        Of ``momentum`` and ``adam`` (beta_1), in [0, 1).
    second_momentum, floor : float
        beta_2 and epsilon of ``adam``.

    References
    ----------
    Nichol, Achiam and Schulman (2018), arXiv 1803.02999; Jiang, Konecny, Rush and Kannan (2019), arXiv 1909.12488.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> found = [pfl.run(a, problem, rounds=3).w[0] for a in (Reptile(beta=0.5), pfl.FedAvg(beta=0.5))]
    >>> bool(found[0] == found[1])
    True
    """

    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch: int | None = None
    replace: bool = True
    local_epochs: int | None = None
    server: str = "sgd"
    server_step: float = 1.0
    momentum: float = 0.9
    second_momentum: float = 0.999
    floor: float = 1e-8

    def __post_init__(self) -> None:
        checked_steps("Reptile", beta=self.beta, local_steps=self.local_steps, batch=self.batch)
        checked_epochs("Reptile", self.local_epochs, self.local_steps, self.batch)
        checked_server("Reptile", self.optimiser)

    @property
    def label(self) -> str:
        return "Reptile" if self.server == "sgd" else f"Reptile ({self.server})"

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return plain_plan(self.beta, self.local_steps, self.batch, self.replace, self.local_epochs)

    @property
    def optimiser(self) -> Server:
        """What the server does with the mean difference."""
        return Server(self.server, self.server_step, self.momentum, self.second_momentum, self.floor)

    def init(self, problem: Problem, w0: NDArray) -> ServerState:
        return first_state(w0)

    def round(self, problem: Problem, state: ServerState, *, seed: int, round_: int, trace: bool = False) -> Round:
        return server_round(
            problem, state, self.plan, self.optimiser, self.participation, seed=seed, round_=round_, trace=trace
        )


def server_round(
    problem: Problem,
    state: ServerState,
    plan: LocalPlan,
    server: Server,
    participation: float | int,
    *,
    seed: int,
    round_: int,
    trace: bool,
) -> Round:
    """Local work of the users that take part, and the server's step; the path ends at the new model."""
    users = choose_users(problem.n_users, participants(participation, problem.n_users), seed, round_)
    path, ends = local_steps(problem, users, state.w[None], plan, seed=seed, round_=round_, trace=trace, keep=True)
    after = stepped(server, state, mean_difference(ends, state.w))
    path[-1] = after.w
    return Round(after, path)
