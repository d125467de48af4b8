"""What a user does in a round, as the kernels read it."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import require
from ...problems.rows import RowOracle

EXACT, FIRST_ORDER, HESSIAN_FREE, PLAIN = 0, 1, 2, 3  # PLAIN: one stochastic gradient step (FedAvg)
INNER, OUTER, HESSIAN = 0, 1, 2  # the three batches D, D', D''
WITH_REPLACEMENT, WITHOUT_REPLACEMENT = 0, 1  # how a batch is drawn; by epochs where the plan counts epochs
BY_ROUNDING = 0.0  # the delta of a plan that leaves the step to the precision (difference.py)


class LocalPlan(NamedTuple):
    """What a user does in a round; batch size 0 means the exact expectation.

    Work is counted in `local_steps`, or, where `epochs` is positive, in passes over the user's shuffled rows.
    """

    alpha: float
    beta: float
    local_steps: int
    variant: int
    delta: float
    batch_inner: int
    batch_outer: int
    batch_hessian: int
    sampling: int
    epochs: int = 0

    @property
    def largest_batch(self) -> int:
        """Largest batch size; 0 where every expectation is exact."""
        return max(self.batch_inner, self.batch_outer, self.batch_hessian)


def sampling_of(replace: bool) -> int:
    """How batches are drawn, as the kernels read it."""
    return WITH_REPLACEMENT if replace else WITHOUT_REPLACEMENT


def plain_plan(beta: float, local_steps: int, batch: int | None, replace: bool, epochs: int | None = None) -> LocalPlan:
    """Stochastic gradient steps without adaptation."""
    work = {"local_steps": int(local_steps), "epochs": int(epochs or 0)}
    sizes = {"batch_inner": 0, "batch_outer": int(batch or 0), "batch_hessian": 0}
    return LocalPlan(
        alpha=0.0, beta=float(beta), variant=PLAIN, delta=1.0, sampling=sampling_of(replace), **work, **sizes
    )


def check_batches(oracle: RowOracle, plan: LocalPlan) -> None:
    """Draws without replacement need enough rows of equal weight."""
    largest = plan.largest_batch
    if plan.sampling == WITH_REPLACEMENT or largest == 0:
        return
    smallest = int(oracle.fed.sizes.min())
    require(
        largest <= smallest,
        f"a batch of {largest} without replacement, but user {int(oracle.fed.sizes.argmin())} has {smallest}; use a "
        "smaller one or replace=True",
    )
    require(oracle.uniform, "batches without replacement need users that weigh their rows equally; use replace=True")
