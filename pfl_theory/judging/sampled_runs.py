"""The left side of a statement about a run, by running the algorithm itself: intervals at a stated level.

A run contributes the mean over a few keyed draws of (k, t), evenly spaced from a random start: an unbiased estimate of
the average over all rounds and local steps, for the price of a few gradients. It lies between 0 and the square of what
||grad F|| can be at most, and that is all the interval uses
(:func:`~pfl_theory.rigour.sampling.mean_interval`): it holds for every number of runs and every law of the noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..algorithms.algorithm import Round
from ..algorithms.records import meta_gradient_norm2
from ..errors import require
from ..memory import remembered
from ..rigour.interval import Interval
from ..rigour.sampling import ERROR, LEVEL, TOGETHER, mean_interval
from ..seeds import generator
from .instance import Instance
from .run_constants import largest_gradient
from .run_steps import first_model, steps_of

DRAWS = 8  # of (k, t) a run


class Samples(NamedTuple):
    """Of every run the mean over its draws of (k, t): ||grad F(wbar_{k+1,t})||^2, and at the same k ||grad F(w_k)||^2
    and gamma_F(w_k)^2; shapes (runs,).
    """

    local: NDArray
    server: NDArray
    spread: NDArray


def draws(rounds: int, tau: int, seed: int) -> NDArray:
    """Positions k tau + t, evenly spaced from a random start: each of the K tau is as likely as any other.

    Examples
    --------
    >>> draws(2, 3, seed=0).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    total = rounds * tau
    count = min(DRAWS, total)
    first = generator(seed, "draws of rounds and local steps").random()
    return np.minimum((first + np.arange(count)) * (total / count), total - 1).astype(np.int64)


def samples(instance: Instance) -> Samples:
    """All runs of an instance, seeds 0, 1, ..., kept on it."""
    return remembered(instance, "samples", lambda: _samples(instance))


def _samples(instance: Instance) -> Samples:
    assert instance.runs is not None
    require(instance.runs >= 2, f"instance {instance.name!r}: runs = {instance.runs}; an interval needs 2 or more")
    return Samples(*np.array([_one_run(instance, seed) for seed in range(instance.runs)]).T)


def _one_run(instance: Instance, seed: int) -> tuple[float, float, float]:
    algorithm, problem, alpha = instance.algorithm, instance.problem, instance.alpha
    assert algorithm is not None
    assert instance.rounds is not None
    tau = steps_of(instance).tau
    wanted: dict[int, list[int]] = {}
    for position in draws(instance.rounds, tau, seed).tolist():
        wanted.setdefault(position // tau, []).append(position % tau)
    trained = algorithm.prepare(problem)
    state = algorithm.init(trained, first_model(instance).astype(problem.oracle.dtype))
    local, server, spread = [], [], []
    with np.errstate(all="ignore"):  # a run that overflows is refused below
        for k in range(max(wanted) + 1):
            steps = wanted.get(k)
            after = Round(*algorithm.round(trained, state, seed=seed, round_=k, trace=steps is not None))
            if steps is not None:
                users = problem.meta_gradient(state.w, alpha)
                mean = users.mean(0)
                at_server = float(mean @ mean)
                apart = float(((users - mean) ** 2).sum(1).mean())
                for t in steps:
                    local.append(at_server if t == 0 else meta_gradient_norm2(problem, after.path[t], alpha))
                    server.append(at_server)
                    spread.append(apart)
            finite = bool(np.isfinite(after.state.w).all() and np.isfinite(local).all())
            require(finite, f"instance {instance.name!r}: the run with seed {seed} diverged at round {k}")
            state = after.state
    return float(np.mean(local)), float(np.mean(server)), float(np.mean(spread))


def sampled_left_side(instance: Instance, *, share: float = 1.0) -> Interval:
    """(1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2, missed with `share` of the error of one verdict."""
    return _interval(instance, samples(instance).local, share * ERROR / TOGETHER)


def sampled_at_server(instance: Instance, *, share: float = 1.0) -> Interval:
    """(1/K) sum E||grad F(w_k)||^2, missed with `share` of the error of one verdict."""
    return _interval(instance, samples(instance).server, share * ERROR / TOGETHER)


def measured_spread(instance: Instance, *, share: float = 1.0) -> Interval:
    """(1/K) sum E gamma_F(w_k)^2: what hypothesis (D) of the master inequalities asks for, measured along the run."""
    return _interval(instance, samples(instance).spread, share * ERROR / TOGETHER)


def _interval(instance: Instance, values: NDArray, error: float) -> Interval:
    return mean_interval(values, largest_gradient(instance) ** 2, error)


def note(instance: Instance) -> str:
    """What a reader must know of a sampled side."""
    how = f"N = {instance.runs} runs of the algorithm, level {LEVEL:.7g} each"
    return f"Sampled with {how}, at most {TOGETHER} judged together."
