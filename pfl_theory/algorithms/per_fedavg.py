"""Per-FedAvg (Algorithm 1, as transcribed) in its three variants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import one_of, require
from ..kernels.philox import choose_users
from ..problems.problem import Problem
from ..problems.rows import RowOracle
from .algorithm import Algorithm, Round, State, checked_steps, participants
from .local_steps import BY_ROUNDING, EXACT, FIRST_ORDER, HESSIAN_FREE, LocalPlan, local_steps, sampling_of

VARIANTS = {"exact": EXACT, "first-order": FIRST_ORDER, "hessian-free": HESSIAN_FREE}
SHORT = {"exact": "exact", "first-order": "FO", "hessian-free": "HF"}
DEFAULT_DELTA = 1e-3


@dataclass(frozen=True)
class PerFedAvg(Algorithm):
    """Per-FedAvg: every user takes tau stochastic gradient steps on F_i, the server averages.

    A local step draws three independent batches D, D', D'' and does::

        w~ = w - alpha g_i(w; D)
        w <- w - beta (I - alpha H_i(w; D'')) g_i(w~; D')

    Parameters
    ----------
    alpha : float
        Inner (personalisation) step, >= 0.
    beta : float
        Meta step, > 0.
    local_steps : int
        tau >= 1.
    participation : float or int
        Share r of users a round (r n an integer), or their number; drawn uniformly without replacement.
    batch_inner, batch_outer, batch_hessian : int or None
        Sizes of D, D', D''; None takes the exact expectation.
    variant : {"exact", "first-order", "hessian-free"}
        ``first-order`` drops the Hessian; ``hessian-free`` replaces H v by [g(w + delta v; D'') - g(w - delta v; D'')]
        / (2 delta).
    delta : float, optional
        Difference step of the Hessian-free variant. When absent it is 1e-3, and for networks that with
        delta ||v|| = u^(1/3) (1 + ||w||), u the unit roundoff of the problem's precision, chosen anew for every product
        (docs/theory/networks.md#5-14-step).
    replace : bool
        Whether batches are drawn with replacement.

    References
    ----------
    Fallah, Mokhtari and Ozdaglar (2020), arXiv 2002.07948v4, Algorithm 1, as transcribed.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> problem = pfl.Problem(pfl.losses.Quadratic(), pfl.Federation.from_arrays([[[0.0]], [[2.0]]]))
    >>> run = pfl.run(pfl.PerFedAvg(alpha=0.5, beta=0.5, local_steps=2), problem, rounds=50)
    >>> round(float(run.w[0]), 3), run.status
    (1.0, 'finished')
    """

    alpha: float
    beta: float
    local_steps: int = 1
    participation: float | int = 1.0
    batch_inner: int | None = None
    batch_outer: int | None = None
    batch_hessian: int | None = None
    variant: str = "exact"
    delta: float | None = None
    replace: bool = True

    def __post_init__(self) -> None:
        checked_steps(
            "PerFedAvg",
            alpha=self.alpha,
            beta=self.beta,
            local_steps=self.local_steps,
            batch_inner=self.batch_inner,
            batch_outer=self.batch_outer,
            batch_hessian=self.batch_hessian,
        )
        one_of("PerFedAvg: variant", self.variant, tuple(VARIANTS))
        require(
            self.delta is None or bool(np.isfinite(self.delta) and self.delta > 0),
            f"PerFedAvg: delta = {self.delta}; must be a finite number > 0",
        )

    @property
    def label(self) -> str:
        return f"Per-FedAvg ({SHORT[self.variant]})"

    @property
    def difference_step(self) -> float:
        """delta of the Hessian-free variant, where no network takes its own."""
        return float(self.delta or DEFAULT_DELTA)

    @property
    def plan(self) -> LocalPlan:
        """What a user does in a round, as the kernels read it."""
        return LocalPlan(
            alpha=float(self.alpha),
            beta=float(self.beta),
            local_steps=int(self.local_steps),
            variant=VARIANTS[self.variant],
            delta=self.difference_step,
            batch_inner=int(self.batch_inner or 0),
            batch_outer=int(self.batch_outer or 0),
            batch_hessian=int(self.batch_hessian or 0),
            sampling=sampling_of(bool(self.replace)),
        )

    def plan_for(self, problem: Problem) -> LocalPlan:
        """The plan on this problem: a network's difference step is left to the rule unless one is given."""
        by_rule = self.delta is None and isinstance(problem.oracle, RowOracle) and problem.oracle.loss.step_by_rounding
        return self.plan._replace(delta=BY_ROUNDING) if by_rule else self.plan

    def round(self, problem: Problem, state: State, *, seed: int, round_: int, trace: bool = False) -> Round:
        users = choose_users(problem.n_users, participants(self.participation, problem.n_users), seed, round_)
        plan = self.plan_for(problem)
        path, _ = local_steps(problem, users, state.w[None], plan, seed=seed, round_=round_, trace=trace)
        return Round(State(path[-1]), path)
