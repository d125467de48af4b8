"""The left side of a statement about a run, by running the algorithm itself: an interval at a stated level."""

from __future__ import annotations

import numpy as np

from ..algorithms.runner import run
from ..errors import require
from ..memory import remembered
from ..rigour.interval import Interval
from ..rigour.sampling import LEVEL, TOGETHER
from .instance import Instance


def sampled_left_side(instance: Instance) -> Interval:
    """(1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 from `instance.runs` independent runs, seeds 0, 1, ...

    The interval is Student's: exact for normal averages. A run's average is one over K rounds of a mixing chain, and
    the level leaves room.
    """
    return remembered(instance, "sampled left side", lambda: _sampled_left_side(instance))


def _sampled_left_side(instance: Instance) -> Interval:
    from scipy.stats import t as student

    assert instance.runs is not None
    assert instance.rounds is not None
    assert instance.algorithm is not None
    require(
        instance.runs >= 30, f"instance {instance.name!r}: runs = {instance.runs}; Student's interval needs 30 or more"
    )
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
    half = float(student.ppf((1 + LEVEL) / 2, instance.runs - 1)) * means.std(ddof=1) / np.sqrt(instance.runs)
    return Interval(float(means.mean() - half), float(means.mean() + half))


def note(instance: Instance) -> str:
    """What a reader must know of a sampled side."""
    how = f"N = {instance.runs} runs of the algorithm, level {LEVEL:.7g} each"
    return f"Sampled with {how}, at most {TOGETHER} judged together."
