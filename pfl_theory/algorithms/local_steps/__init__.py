"""The local steps of Algorithm 1, for the users that take part in a round.

Several routes to the same numbers, one file each: a module here with ``PRIORITY``, ``fits(oracle, plan)`` and ``steps``
is a route; of those that fit, the one of highest priority runs. A faster road for some loss is one new file.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...discovery import modules
from ...errors import InputError
from ...problems.problem import Problem
from .plan import BY_ROUNDING, EXACT, FIRST_ORDER, HESSIAN_FREE, PLAIN, LocalPlan, plain_plan, sampling_of

ROUTES: tuple[Any, ...] = tuple(
    sorted((m for m in modules(__name__, __path__) if hasattr(m, "fits")), key=lambda m: (-m.PRIORITY, m.__name__))
)

__all__ = [
    "BY_ROUNDING",
    "EXACT",
    "FIRST_ORDER",
    "HESSIAN_FREE",
    "PLAIN",
    "ROUTES",
    "LocalPlan",
    "local_steps",
    "plain_plan",
    "sampling_of",
]


def local_steps(
    problem: Problem,
    users: NDArray,
    start: NDArray,
    plan: LocalPlan,
    *,
    seed: int,
    round_: int,
    trace: bool = False,
    keep: bool = False,
) -> tuple[NDArray, NDArray]:
    """Local steps of `users` from `start`.

    Parameters
    ----------
    users : ndarray of int, shape (m,)
        Users that take part, increasing.
    start : ndarray, shape (1, d) or (n, d)
        Where they start: w_k, or a model of each user's own.
    plan : LocalPlan
    seed, round_ : int
        Name the random streams together with user and step.
    trace : bool
        Whether to return the average before every step as well.
    keep : bool
        Whether to return every user's end point.

    Returns
    -------
    path : ndarray, shape (tau + 1, d) if `trace` else (1, d)
        wbar_{k+1, t} for t = 0 .. tau, or only the last one.
    final : ndarray, shape (m, d) if `keep` else (0, d)
    """
    for route in ROUTES:
        if route.fits(problem.oracle, plan):
            return route.steps(  # type: ignore[no-any-return]
                problem.oracle, users, start, plan, seed=seed, round_=round_, trace=trace, keep=keep
            )
    raise InputError(f"local steps: no route fits a problem made from {problem.kind} with {plan}")
