"""What the theory says for one's own users: constants, steps, distances, gamma, bounds, and what a run measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from ..algorithms.algorithm import Algorithm, as_dict
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import PerFedAvg
from ..errors import require
from ..judging.instance import Instance
from ..judging.on_runs import RUN
from ..judging.run_steps import steps_of
from ..judging.staying import reach
from ..problems.problem import Problem
from ..runs.run import Run
from .along import Measured, checked_run, measured
from .bound import USUAL_ROUNDS, Admissible, Bound, Roads, admissible, bounds_of, instance_of, roads, unmet
from .recommend import Recommendation, recommend
from .users import Users, too_dear, users_of

MEANING = {
    "B": "largest gradient of a user's loss f_i",
    "L": "largest curvature of f_i: how fast its gradient turns",
    "rho": "how fast the Hessian of f_i turns",
    "sigma_G": "noise of one row's gradient about its user's",
    "sigma_H": "noise of one row's Hessian about its user's",
    "gamma_G": "how far users' gradients lie from their mean",
    "gamma_H": "how far users' Hessians lie from their mean",
    "B_datum": "largest gradient of a single row",
    "L_datum": "largest curvature of a single row",
}


class Known(NamedTuple):
    """A constant: the largest over users, how it is known, and by which formula, or why not."""

    symbol: str
    value: float
    how: str
    words: str
    reason: str


@dataclass(frozen=True, eq=False)
class Report:
    """What the theory says. Plain records; text, HTML, LaTeX and the figure are made from them elsewhere.

    Attributes
    ----------
    name : str
        Of the users.
    facts : dict
        The problem, the algorithm and its numbers.
    constants : tuple of Known
    steps : Admissible or None
        Largest steps that the theorem allows; None where L is not known.
    users : Users or None
    roads : Roads
        gamma_G, gamma_H and gamma_F by each road.
    bounds : tuple of Bound
        Theorem 2, and Proposition 3 where r = 1; empty where a hypothesis fails.
    failure : str or None
        The hypothesis that fails, and by how much.
    rounds_given : bool
        Whether K was named; else the first term stands at K = 1000.
    measured : Measured or None
    epsilon : float or None
    advice : Recommendation or None
        What reaches epsilon, where one was asked for.
    """

    name: str
    facts: dict[str, Any]
    constants: tuple[Known, ...]
    steps: Admissible | None
    users: Users | None
    roads: Roads
    bounds: tuple[Bound, ...]
    failure: str | None
    rounds_given: bool
    measured: Measured | None
    epsilon: float | None
    advice: Recommendation | None

    @property
    def bound(self) -> Bound | None:
        """The smallest bound; None where a hypothesis fails."""
        return min(self.bounds, key=lambda bound: bound.value, default=None)

    def frame(self) -> Any:
        """Everything as one table: section, quantity, value, how it is known, what it is in words.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        from .tables import COLUMNS, rows

        return pd.DataFrame(rows(self), columns=list(COLUMNS))

    def to_latex(self) -> str:
        """The constants and the terms of the bound as two LaTeX tables (``booktabs``)."""
        from .latex import latex

        return latex(self)

    def figure(self) -> Any:
        """The terms of the bound against the trivial bound and what the run measured.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from .picture import picture

        return picture(self)

    def __str__(self) -> str:
        from .text import report_text

        return report_text(self)

    def _repr_html_(self) -> str:
        from .html import report_html

        return report_html(self)


def report(
    problem: Problem,
    algorithm: Algorithm,
    *,
    run: Run | None = None,
    epsilon: float | None = None,
    rounds: int | None = None,
    alpha: float | None = None,
    w0: ArrayLike | None = None,
    ball: tuple[float, ArrayLike | None] | None = None,
    distances: str = "affordable",
    tell: Callable[[str], None] | None = None,
) -> Report:
    """What the theory says for these users and this algorithm.

    Parameters
    ----------
    problem : Problem
    algorithm : Algorithm
        Per-FedAvg or FedAvg; for others there is no bound, only what was measured.
    run : Run, optional
        What was run with it: its records ``local_gradient`` and ``meta_gradient`` stand beside the bound.
    epsilon : float, optional
        Wanted average squared gradient: what reaches it is added (:func:`recommend`).
    rounds : int, optional
        K; the run's where one is given. Without either the first term of the bound is told as a function of K.
    alpha : float, optional
        Inner step of F; the algorithm's own when absent, 0 if it has none.
    w0 : (d,) array_like, optional
        First model; 0 when absent.
    ball : tuple (radius, center or None), optional
        Read the assumptions on this ball, where they hold on a ball only; the run must provably stay in it.
    distances : {"affordable", "all", "none"}
        W1 between users where that takes seconds, in any case, or not at all.
    tell : callable, optional
        Told what is computed next.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        epsilon <= 0, a run of another algorithm or problem.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> x = np.random.default_rng(0).normal(size=(4, 30, 2))
    >>> problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(x, (x[..., 0] > 0).astype(int)))
    >>> found = report(problem, pfl.PerFedAvg(alpha=0.2, beta=0.01, local_steps=5), rounds=2000)
    >>> found.failure is None, found.bound.name, found.bound.vacuous
    (True, 'Proposition 3', False)
    """
    good = epsilon is None or (isinstance(epsilon, (int, float)) and math.isfinite(epsilon) and epsilon > 0)
    require(good, f"report: epsilon = {epsilon!r}; must be a finite number > 0")
    require(
        isinstance(algorithm, Algorithm), f"report: algorithm is {type(algorithm).__name__}; give PerFedAvg or FedAvg"
    )
    require(run is None or isinstance(run, Run), f"report: run is {type(run).__name__}; give what pfl.run returned")
    say = tell or (lambda _: None)
    ran = None if run is None else run.facts.get("rounds_asked")
    require(
        None in (rounds, ran) or rounds == ran,
        f"report: rounds = {rounds}, but the run has {ran}; leave rounds out, or give a run of as many",
    )
    asked = ran if rounds is None else rounds
    base = instance_of(problem, algorithm, alpha=alpha, rounds=asked or USUAL_ROUNDS, w0=w0, ball=ball)
    if run is not None:
        checked_run(run, base)
    say("constants of the assumptions")
    constants = _constants(base)
    no_run = RUN.check(base)
    dear = too_dear(problem, distances) if problem.kind == "rows" else None
    users = users_of(problem, distances, tell)
    usable = no_run is None and set(NEEDED) <= {c.symbol for c in constants if c.how in ("exact", "upper")}
    found, bounds = Roads((), {}), tuple[Bound, ...]()
    steps = None if no_run else admissible(base)
    if usable:
        found = roads(base, w1=dear, tell=tell)
    road = found.best
    at = base if road is None else dataclasses.replace(base, gamma=road.name)
    failure = no_run or unmet(at)
    if failure is not None and no_run is None and ball is None:
        failure += _ball_to_give(base)
    if failure is None:
        say("the terms of the bound")
        bounds = bounds_of(at)
    looked = None
    if run is not None or failure is not None:
        looked = measured(base, run, in_full=not usable or _in_float32(problem), tell=tell)
    advice = None
    if epsilon is not None:
        advice = _advice(base, epsilon, w0, ball, tell)
    return Report(
        base.name,
        _facts(base, asked),
        constants,
        steps,
        users,
        found,
        bounds,
        failure,
        asked is not None,
        looked,
        epsilon,
        advice,
    )


NEEDED = ("L", "B", "rho", "sigma_G", "sigma_H")


def _ball_to_give(base: Instance) -> str:
    """Where constants exist on a ball only, the ball that quadratic users provably do not leave."""
    B = base.constants.get("B")
    if B is None or B.usable:
        return ""
    found = reach(base)
    if not math.isfinite(found.radius):
        return ""
    radius = found.radius * (1 + 1e-9)
    return f" Give ball=({math.ceil(radius * 1e4) / 1e4:.10g}, None): the run provably stays there, for {found.how}."


def _in_float32(problem: Problem) -> bool:
    return problem.oracle.dtype.name != "float64"


def _constants(instance: Instance) -> tuple[Known, ...]:
    return tuple(
        Known(name, c.max(), c.how if c.usable or c.how == "lower" else "none", MEANING[name], c.reason.strip())
        for name in MEANING
        if (c := instance.constants.get(name)) is not None
    )


def _facts(instance: Instance, asked: int | None) -> dict[str, Any]:
    problem, algorithm = instance.problem, instance.algorithm
    assert algorithm is not None
    rows = problem.kind == "rows"
    facts: dict[str, Any] = {
        "users": problem.n_users,
        "rows": len(problem.federation.x) if rows else None,
        "dimension": problem.dim,
        "loss": problem.loss.name if rows else problem.kind,
        "law": problem.federation.law if rows else None,
        "algorithm": algorithm.label,
        "alpha": instance.alpha,
        **{name: value for name, value in as_dict(algorithm).items() if name not in ("algorithm", "alpha")},
        "rounds": asked,
    }
    if isinstance(algorithm, (PerFedAvg, FedAvg)):
        steps = steps_of(instance)
        facts |= {"m": steps.m, "tau": steps.tau}
    return facts


def _advice(base: Instance, epsilon: float, w0: Any, ball: Any, tell: Any) -> Recommendation:
    algorithm = base.algorithm
    known = isinstance(algorithm, (PerFedAvg, FedAvg))
    require(known, "report: epsilon is for Per-FedAvg and FedAvg; leave it out for other algorithms")
    variant = algorithm.variant if isinstance(algorithm, PerFedAvg) else "FedAvg"
    share: Any = getattr(algorithm, "participation", 1.0)
    return recommend(
        base.problem, epsilon, alpha=base.alpha, participation=share, variant=variant, w0=w0, ball=ball, tell=tell
    )
