"""A run as an instance names it: its steps, its users a round, the smoothness of what it descends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..algorithms.algorithm import participants
from ..algorithms.baselines import FedAvg
from ..errors import InputError
from ..expectations.batches import batch_sizes
from ..rigour.balls import Ball
from .instance import Instance

if TYPE_CHECKING:
    from ..expectations.enumerated_runs import ExactRun


@dataclass(frozen=True, eq=False)
class ClosedRun(Instance):
    """An instance whose run is known in closed form (identical users without number, say): it lives in code and cannot
    be written to a file.
    """

    run: ExactRun | None = None
    copies: int = 1  # identical users that each of the problem's users stands for
    note: str = ""

    def save(self, path: Any) -> Any:
        raise InputError(
            f"instance {self.name!r}: its run is a closed form in the library, which a file cannot hold; judge it "
            "by its name"
        )


class Steps(NamedTuple):
    """The numbers of a run's algorithm."""

    beta: float
    tau: int
    n: int
    m: int


def steps_of(instance: Instance) -> Steps:
    """beta, tau, n and m = r n."""
    algorithm: Any = instance.algorithm
    copies = instance.copies if isinstance(instance, ClosedRun) else 1
    n = instance.problem.n_users
    return Steps(
        float(algorithm.beta), int(algorithm.local_steps), n * copies, participants(algorithm.participation, n) * copies
    )


def participation_factor(n: int, m: int) -> Ball:
    """p = (1 - r)/(r (n - 1)) = (n - m)/(m (n - 1)); 0 for n = 1."""
    return Ball(float(n - m)) / Ball(float(m) * float(n - 1)) if n > 1 else Ball(0.0)


def first_model(instance: Instance) -> np.ndarray:
    """w_0, shape (d,)."""
    return np.zeros(instance.problem.dim) if instance.w0 is None else instance.w0


def has_own_direction(instance: Instance) -> bool:
    """Whether steps go another way than grad F_i on average: FO, and FedAvg measured on F."""
    other = isinstance(instance.algorithm, FedAvg) or getattr(instance.algorithm, "variant", "exact") == "first-order"
    return other and instance.alpha > 0


class VarianceFactors(NamedTuple):
    """c_D, c_D' and c_D'' of the statements: 1/D, which no way of drawing exceeds, 0 for the exact expectation."""

    inner: float
    outer: float
    hessian: float


def batch_factors(instance: Instance) -> VarianceFactors:
    """Variance factors of the batch means."""
    return VarianceFactors(*(0.0 if size is None else 1.0 / size for size in batch_sizes(instance.algorithm)[:3]))


def exact_smoothness(instance: Instance) -> Ball | None:
    """L_F, the Lipschitz constant of every grad F_i over the whole space, where it is known exactly."""
    found = instance.problem.meta_smoothness(instance.alpha)
    if found is None:
        return None
    value, error = found
    return Ball.between(float((value - error).max()), float((value + error).max()))
