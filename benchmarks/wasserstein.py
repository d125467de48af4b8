"""W1 of one user to the average of fifty: MNIST, the paper's split (a = 196), 980 or 490 images against about 36,000,
in 784 dimensions.

Contenders: ours (`between`, certified, with merging of points, costs and certificate), and dense `ot.emd2` with its
cost matrix, given what is left when the user's own images are taken out of the average, with integer masses and costs
of mean 1 (its defaults would stop early). One user at a time, so that memory holds one dense problem; a kind's ratio is
the median over three users.
"""

from __future__ import annotations

import resource
import statistics
from typing import Any

import numpy as np

from pfl_theory.distances.between_users import shared
from pfl_theory.distances.wasserstein import between
from pfl_theory.federations import handwritten_pair
from pfl_theory.kernels.jit import one_blas_thread

from .alternate import alternate, report

USERS = {"980 images (five classes)": (0, 9, 18), "490 images (two classes)": (25, 33, 41)}


def dense(x: Any, y: Any, a: Any, b: Any) -> float:
    """What a user would call, with POT's traps avoided."""
    import ot

    c = ot.dist(x.astype(np.float64), y.astype(np.float64), metric="euclidean")
    mean = c.mean()
    c /= mean
    return float(ot.emd2(a.astype(np.float64), b.astype(np.float64), c, numItermax=10**9) * mean)


def main(repeats: int = 3, peers: bool = True) -> dict[str, Any]:
    """Measure user by user, check that the values agree, report each kind."""
    fed, _ = handwritten_pair("mnist")
    base = shared(fed, use_labels=False)
    between(base.with_average(3))  # compile
    kept: dict[str, Any] = {}
    for kind, users in USERS.items():
        seconds: dict[str, list[float]] = {"ours": [], "dense ot.emd2 + cost": []}
        gaps, rounds = [], []
        for user in users:
            found = between(base.with_average(user))
            gaps.append(found.gap / found.upper)
            rounds.append(found.rounds)
            contenders: dict[str, Any] = {"ours": lambda user=user: between(base.with_average(user))}
            if peers:
                given = base.with_average(user)
                x, y = given.points[given.sources], given.points[given.sinks]
                value = dense(x, y, given.excess, given.deficit) * given.scale / given.total
                assert abs(value - found.upper) <= 1e-9 * value, (value, found.upper)
                contenders["dense ot.emd2 + cost"] = lambda x=x, y=y, given=given: dense(
                    x, y, given.excess, given.deficit
                )
            with one_blas_thread():
                for name, values in alternate(contenders, repeats=repeats, warm=0).items():
                    seconds[name].append(statistics.median(values))
        facts = {
            "name": f"wasserstein-{kind.split()[0]}",
            "users": users,
            "relative_gap": max(gaps),
            "rounds": rounds,
            "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        kept[kind] = report(
            f"W1 of a user to the average of 50, {kind}; medians of {repeats} per user",
            seconds if peers else {"ours": seconds["ours"]},
            "ours",
            facts,
        )
    return kept


def memory() -> float:
    """Peak memory in MiB of a process that measures one user of 980 images and nothing else: run in a fresh process."""
    fed, _ = handwritten_pair("mnist")
    between(shared(fed, use_labels=False).with_average(0))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
