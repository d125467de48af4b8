"""An algorithm with sensible steps for users of whom little is decided yet."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from ..algorithms.algorithm import Algorithm
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import VARIANTS, PerFedAvg
from ..errors import InputError, one_of, require
from ..problems.problem import Problem
from .bound import admissible, instance_of
from .recommend import usual_alpha

SHARE = 0.2  # of the users, a round


def usual_algorithm(
    problem: Problem,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    tau: int = 5,
    participation: float | int | None = None,
    batch: int | None = None,
    variant: str = "exact",
    ball: tuple[float, ArrayLike | None] | None = None,
) -> tuple[Algorithm, float]:
    """Per-FedAvg (or FedAvg) with the steps that the theorem allows, and the inner step of F.

    Parameters
    ----------
    problem : Problem
    alpha : float, optional
        Inner step; 0.2/L when absent.
    beta : float, optional
        Meta step; 1/(10 tau L_F) when absent.
    tau : int
        Local steps.
    participation : float or int, optional
        Share or number of users a round; a fifth of them, at least one, when absent.
    batch : int, optional
        Size of every batch; all rows when absent.
    variant : {"exact", "first-order", "hessian-free", "FedAvg"}
    ball : optional
        On which the assumptions are read.

    Raises
    ------
    InputError
        L or L_F is not known from above, and the step that follows from it is not given.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> x = np.random.default_rng(0).normal(size=(10, 30, 2))
    >>> problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(x, (x[..., 0] > 0).astype(int)))
    >>> algorithm, alpha = usual_algorithm(problem)
    >>> algorithm.participation, algorithm.local_steps, alpha == algorithm.alpha
    (2, 5, True)
    """
    one_of("variant", variant, (*VARIANTS, "FedAvg"))
    n = problem.n_users
    if participation is None:
        users: float | int = max(1, round(SHARE * n))
    elif participation > 1 and float(participation).is_integer():
        users = int(participation)
    else:
        users = participation
    inner = usual_alpha(problem, ball) if alpha is None else float(alpha)

    def made(step: float) -> Algorithm:
        if variant == "FedAvg":
            return FedAvg(step, tau, users, batch)
        return PerFedAvg(inner, step, tau, users, batch, batch, None if variant == "first-order" else batch, variant)

    if beta is not None:
        return made(beta), inner
    steps = admissible(instance_of(problem, made(1.0), alpha=inner, ball=ball))
    if steps is None or steps.beta is None:
        radius, center = (None, None) if ball is None else ball
        c = problem.constants(radius=radius, center=center)
        lacking = next(f"{name} ({c[name].reason.strip()})" for name in NEEDED if name in c and not c[name].usable)
        raise InputError(f"beta follows from L_F, which is not known for lack of {lacking}; give beta, or a ball")
    require(math.isfinite(steps.beta), "beta follows from L_F, which is 0: the functions are straight; give beta")
    return made(steps.beta), inner


NEEDED = ("L", "B", "rho", "sigma_G", "sigma_H")
