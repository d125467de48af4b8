"""What one run measured: values at visited points. They say nothing of other points and enter no bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import Algorithm, as_dict
from ..algorithms.local_steps import local_steps
from ..algorithms.records import Moment, meta_gradient_norm2
from ..errors import InputError, require
from ..judging.instance import Instance
from ..problems.problem import Problem
from ..runs.run import Run
from ..seeds import generator

POWER_STEPS = 20  # of the power iteration: from below, most often within a few per cent
DRAWS = 24  # of a direction, for its variance
SPREAD_DIM = 64  # up to this dimension Hessians are compared in full
MOST_POINTS = 5


class At(NamedTuple):
    """Measured at one point; None where it was not, or cannot be.

    Attributes
    ----------
    where : str
    gradient2 : float
        ||grad F||^2.
    gamma_G, gamma_H, gamma_F : float or None
    curvature : float or None
        Largest ||Hess f_i|| over users that power iteration found: from below.
    variance : float or None
        Mean over users of the variance of a local step's direction.
    """

    where: str
    gradient2: float
    gamma_G: float  # noqa: N815 - the paper's symbols
    gamma_H: float | None  # noqa: N815
    gamma_F: float  # noqa: N815
    curvature: float | None
    variance: float | None


@dataclass(frozen=True)
class Measured:
    """What a run recorded, and what was measured at points that it visited.

    Attributes
    ----------
    local : float or None
        Average of ||grad F||^2 over the recorded local steps of this one run: what the bound is about, once.
    server : float or None
        The same at the server's models.
    rounds : int or None
        Rounds that were asked for.
    records : int
        How many of them are recorded.
    status : str
    points : tuple of At
    notes : tuple of str
    """

    local: float | None
    server: float | None
    rounds: int | None
    records: int
    status: str
    points: tuple[At, ...]
    notes: tuple[str, ...]


def visited(at: Moment) -> dict[str, NDArray]:
    """A quantity to record, ``pfl.run(..., record=("local_gradient", pfl.reports.visited))``: the models themselves, so
    that a report measures at more points than the first and the last.
    """
    return {"visited": np.array(at.w)}


def checked_run(run: Run, instance: Instance) -> None:
    """A run of this algorithm on this problem from this start, or one line."""
    facts, algorithm = run.facts, instance.algorithm
    assert algorithm is not None
    n, d = facts.get("n_users"), facts.get("dim")
    require(
        run.w.shape == (instance.problem.dim,) and n in (None, instance.problem.n_users),
        f"report: the run has {n} users and dimension {d}, the problem {instance.problem.n_users} and "
        f"{instance.problem.dim}; give a run on this problem",
    )
    for name, value in as_dict(algorithm).items():
        require(
            facts.get(name, value) == value,
            f"report: the run has {name} = {facts.get(name)!r}, the algorithm {value!r}; give the run's own algorithm",
        )
    first = next((v for name in FIRST if (v := run.records.get(name)) is not None), None)
    if first is not None and len(run.rounds) and int(run.rounds[0]) == 0:
        seen = float(np.ravel(first)[0])  # local steps start at w_0 too
        here = meta_gradient_norm2(instance.problem, start_of(instance), instance.alpha)
        require(
            math.isclose(seen, here, rel_tol=1e-3, abs_tol=1e-12),
            f"report: at its start the run has ||grad F||^2 = {seen:.6g}, w0 here has {here:.6g}; give w0=, the run's "
            "first model, and alpha=, the step it was recorded with",
        )


FIRST = ("gradient_norm2", "local_gradient_norm2")


def start_of(instance: Instance) -> NDArray:
    """w_0."""
    return np.zeros(instance.problem.dim) if instance.w0 is None else instance.w0


def measured(
    instance: Instance, run: Run | None, *, in_full: bool, tell: Callable[[str], None] | None = None
) -> Measured:
    """Look at a run; `in_full` also measures curvature and variance, where no constants are known."""
    notes: list[str] = []
    local = server = None
    if run is not None:
        local, server = (_mean(run.records.get(name)) for name in ("local_gradient_norm2", "gradient_norm2"))
        if local is None:
            notes.append("the run holds no local_gradient: record=('local_gradient',) gives what the bound is about")
        if run.status != "finished":
            notes.append(f"the run diverged at round {run.diverged_at}: its last finite model is looked at")
    points = []
    for where, w in _points(instance, run):
        if tell is not None:
            tell(f"gradients and curvature at {where}")
        with np.errstate(all="ignore"):
            points.append(_at(where, w, instance, in_full))
    if in_full and not instance.problem.oracle.has_hvp:
        notes.append("curvature is not measured: the problem gives no Hessian-vector product")
    return Measured(
        local,
        server,
        None if run is None else run.facts.get("rounds_asked"),
        0 if run is None else len(run.rounds),
        "no run given" if run is None else run.status,
        tuple(points),
        tuple(notes),
    )


def _mean(values: NDArray | None) -> float | None:
    """Over what was recorded: the last record is after all rounds, and holds no local steps."""
    if values is None:
        return None
    finite = np.isfinite(values)
    return float(values[finite].mean()) if finite.any() else None


def _points(instance: Instance, run: Run | None) -> list[tuple[str, NDArray]]:
    """The first and the last model, and a few between them where the run recorded its models."""
    found = [("the start", start_of(instance))]
    if run is None:
        return found
    models = run.records.get("visited")
    if models is not None and models.ndim == 2:
        inner = np.unique(np.linspace(0, len(models) - 1, MOST_POINTS).astype(int))[1:-1]
        found += [(f"round {int(run.rounds[k])}", models[k]) for k in inner]
    return [*found, ("the last model", run.w)]


def _at(where: str, w: NDArray, instance: Instance, in_full: bool) -> At:
    problem, alpha = instance.problem, instance.alpha
    w = w.astype(problem.oracle.dtype)
    curved = problem.oracle.has_hvp
    g, small = problem.gradient(w), problem.dim <= SPREAD_DIM and problem.oracle.has_hessian
    f = problem.meta_gradient(w, alpha) if curved or alpha == 0 else None
    apart = math.nan if f is None else _rms(f)
    mean = None if f is None else f.mean(0, dtype=np.float64)
    gamma_h = problem.gamma_H(w) if small else None
    return At(
        where,
        math.nan if mean is None else float(mean @ mean),
        _rms(g),
        gamma_h,
        apart,
        curvature(problem, w) if in_full and curved else None,
        variance(problem, instance.algorithm, w) if in_full else None,
    )


def _rms(vectors: NDArray) -> float:
    v = vectors.astype(np.float64)
    return float(np.sqrt(((v - v.mean(0)) ** 2).sum(1).mean()))


def curvature(problem: Problem, w: NDArray, steps: int = POWER_STEPS) -> float:
    """Largest ||Hess f_i(w) v|| over users and unit vectors v that power iteration found: at most the curvature there.

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[0.0, 0.0]], [[1.0, 1.0]]])
    >>> round(curvature(pfl.Problem(pfl.losses.Quadratic([[2.0, 0.0], [0.0, 0.5]]), fed), np.zeros(2)), 6)
    2.0
    """
    v = generator(0, "power iteration").normal(size=(problem.n_users, problem.dim))
    largest = 0.0
    for _ in range(steps):
        sizes = np.linalg.norm(v, axis=1, keepdims=True)
        v = np.divide(v, sizes, out=np.zeros_like(v), where=sizes > 0)
        v = problem.hvp(w, v).astype(np.float64)
        largest = max(largest, float(np.linalg.norm(v, axis=1).max()))
    return largest


def variance(problem: Problem, algorithm: Algorithm | None, w: NDArray, draws: int = DRAWS) -> float | None:
    """Mean over users of E||G - E G||^2, G the direction of one local step at w, from independent draws; None where the
    algorithm has no plan of steps.
    """
    plan: Any = getattr(algorithm, "plan", None)
    if plan is None:
        return None
    # a whole passage over shuffled rows is no single step
    if getattr(algorithm, "local_epochs", None) is not None:
        return None
    one = plan._replace(local_steps=1, beta=1.0)  # so that the step is the direction itself
    users, start = np.arange(problem.n_users), w[None].astype(problem.oracle.dtype)
    total, squares = np.zeros((problem.n_users, problem.dim)), np.zeros(problem.n_users)
    first: NDArray | None = None
    try:
        for k in range(draws):
            _, end = local_steps(problem, users, start, one, seed=k, round_=2**31 - 1, keep=True)
            direction = start.astype(np.float64) - end
            first = direction if first is None else first
            away = direction - first  # shifted by one draw: nothing cancels where there is no noise
            total += away
            squares += (away**2).sum(1)
    except InputError:
        return None
    return float(((squares - (total**2).sum(1) / draws) / (draws - 1)).clip(0.0).mean())
