"""The left side of a statement about a run, by running the algorithm itself: an interval at a stated level."""

from __future__ import annotations

import numpy as np

from ..algorithms.runner import run
from ..errors import require
from ..memory import remembered
from ..rigour.interval import Interval
from ..rigour.sampling import ERROR, LEVEL, TOGETHER, mean_interval
from .instance import Instance
from .on_runs import largest_gradient


def sampled_left_side(instance: Instance) -> Interval:
    """(1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 from `instance.runs` independent runs, seeds 0, 1, ...

    A run's average lies between 0 and the square of what ||grad F|| can be at most, and that is all the interval uses
    (:func:`~pfl_theory.rigour.sampling.mean_interval`): it holds for every number of runs and every law of the noise.
    """
    return remembered(instance, "sampled left side", lambda: _sampled_left_side(instance))


def _sampled_left_side(instance: Instance) -> Interval:
    assert instance.runs is not None
    assert instance.rounds is not None
    assert instance.algorithm is not None
    require(instance.runs >= 2, f"instance {instance.name!r}: runs = {instance.runs}; an interval needs 2 or more")
    means = np.empty(instance.runs)
    for seed in range(instance.runs):
        found = run(
            instance.algorithm,
            instance.problem,
            rounds=instance.rounds,
            w0=instance.w0,
            seed=seed,
            record="local_gradient",
            alpha=instance.alpha,
        )
        require(
            found.status == "finished",
            f"instance {instance.name!r}: the run with seed {seed} diverged at round {found.diverged_at}",
        )
        means[seed] = found.records["local_gradient_norm2"][:-1].mean()  # the last record stands after all rounds
    return mean_interval(means, largest_gradient(instance) ** 2, ERROR / TOGETHER)


def note(instance: Instance) -> str:
    """What a reader must know of a sampled side."""
    how = f"N = {instance.runs} runs of the algorithm, level {LEVEL:.7g} each"
    return f"Sampled with {how}, at most {TOGETHER} judged together."
