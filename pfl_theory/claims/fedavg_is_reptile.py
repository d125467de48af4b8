"""FedAvg is Reptile with plain server steps of size 1.

- sharp: Reptile(theta) - theta = e (FedAvg(theta) - theta), server step e (tight)
- sharp, bits: for e = 1 Reptile's floats are those of FedAvg in difference form, theta + mean(theta_i - theta), bit
  for bit (tight). FedAvg's own form mean(theta_i) differs from them by roundings

Both weigh users alike. Proofs: docs/theory/relatives.md#10-5.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..algorithms.algorithm import Algorithm
from ..algorithms.baselines import FedAvg
from ..algorithms.local_steps import local_steps
from ..algorithms.reptile import Reptile
from ..judging.claim import Case, Claim, Hypothesis, Sides
from ..judging.instance import Instance
from ..judging.on_candidates import nonnegative
from ..judging.on_local_runs import LOCAL, all_runs, equal, mean, quadratic, random_local, run_error
from ..judging.on_models import norm, widened
from ..rigour.balls import Ball

PLACE = "docs/theory/relatives.md#10-5"
ONE_BIT = 2.0**60  # weight of a difference that must be exactly 0: a single bit refutes


def sides(instance: Instance) -> Sides:
    """Both algorithms' own rounds, at every point."""
    reptile = instance.algorithm
    assert isinstance(reptile, Reptile)
    pair: tuple[Algorithm, Algorithm] = (reptile, _fedavg(reptile))
    pairs = []
    for w in instance.judged_at:
        ends = [
            algorithm.round(instance.problem, algorithm.init(instance.problem, w), seed=0, round_=0).state.w
            for algorithm in pair
        ]
        error = run_error(instance, w) * 2
        moved, meant = (widened(Ball(end), error) - Ball(w) for end in ends)
        if reptile.server_step != 1:
            moved, meant = Ball(ends[0]) - Ball(w), (widened(Ball(ends[1]), error) - Ball(w)) * reptile.server_step
            moved = widened(moved, error * max(1.0, reptile.server_step))
        lhs, rhs = equal(moved, meant)
        pairs.append((nonnegative(lhs), nonnegative(rhs)))
    return Sides.over(pairs, "points")


def bits(instance: Instance) -> Sides:
    """The floats of both, and the exact step as their size."""
    reptile = instance.algorithm
    assert isinstance(reptile, Reptile)
    problem, pairs, apart = instance.problem, [], 0
    for w, runs in zip(instance.judged_at, all_runs(instance), strict=True):
        found = reptile.round(problem, reptile.init(problem, w), seed=0, round_=0).state.w
        users = np.arange(problem.n_users)
        _, ends = local_steps(problem, users, w[None], _fedavg(reptile).plan, seed=0, round_=0, keep=True)
        difference = w + np.add.accumulate(ends - w, axis=0)[-1] / problem.n_users  # one user after the other
        apart += int((found != ends.mean(0)).sum())
        step = norm(mean([run.places[-1] for run in runs]) - runs[0].start)
        off = 0.0 if np.array_equal(found, difference) else float(np.abs(found - difference).max()) * ONE_BIT
        pairs.append((nonnegative(step + off), nonnegative(step)))
    of = instance.problem.dim * len(instance.judged_at)
    return replace(
        Sides.over(pairs, "points"), note=f"The form mean(theta_i) has other bits in {apart} of {of} entries."
    )


def _fedavg(reptile: Reptile) -> FedAvg:
    """FedAvg with the same local work."""
    return FedAvg(reptile.beta, reptile.local_steps, reptile.participation, reptile.batch, reptile.replace)


def _reptile(instance: Instance) -> str | None:
    return None if isinstance(instance.algorithm, Reptile) else "the algorithm must be Reptile."


def _averages(instance: Instance) -> str | None:
    assert isinstance(instance.algorithm, Reptile)
    step = instance.algorithm.server_step
    return None if step == 1 else f"the server step must be 1: it is {step:.6g}."


def witness(server_step: float = 1.0) -> Instance:
    """A quadratic, three steps."""
    base = quadratic(1.0, 1.0, 0.3, 3)
    return replace(base, algorithm=Reptile(0.3, 3, server_step=server_step), name="quadratic, Reptile")


def momentum() -> Instance:
    """A server that remembers."""
    return replace(witness(), algorithm=Reptile(0.3, 3, server="momentum"))


def random_reptile(rng: np.random.Generator, *, averaging: bool = False) -> Instance:
    """Random users and local steps; a server step of 1, or up to 2."""
    base = random_local(rng, least=1)
    assert isinstance(base.algorithm, FedAvg)
    e = 1.0 if averaging or rng.random() < 0.3 else float(rng.uniform(0.1, 2))
    return replace(base, algorithm=Reptile(base.algorithm.beta, base.algorithm.local_steps, server_step=e))


REPTILE = Hypothesis("the algorithm is Reptile", _reptile)
CASES = (
    Case("momentum", momentum, "NOT_APPLICABLE"),
    Case("fedavg", lambda: quadratic(1.0, 1.0, 0.3, 3), "NOT_APPLICABLE"),
)

CLAIMS = (
    Claim(
        name="fedavg-is-reptile",
        version="sharp",
        title="FedAvg is Reptile with plain server steps of size 1",
        short="exact",
        statement="Reptile(theta) - theta = e (FedAvg(theta) - theta) for the server step e",
        source=PLACE,
        tight=True,
        hypotheses=(REPTILE, *LOCAL),
        sides=sides,
        witness=witness,
        random_instance=random_reptile,
        cases=(*CASES, Case("half-a-step", lambda: witness(0.5), "HOLDS", ratio=1.0)),
    ),
    Claim(
        name="fedavg-is-reptile",
        version="sharp",
        form="bits",
        title="FedAvg is Reptile with plain server steps of size 1, bit for bit",
        short="e = 1: the same bits",
        statement="for e = 1 Reptile gives theta + mean(theta_i - theta) bit for bit",
        source=PLACE,
        tight=True,
        hypotheses=(REPTILE, Hypothesis("server step 1", _averages), *LOCAL),
        sides=bits,
        witness=witness,
        random_instance=lambda rng: random_reptile(rng, averaging=True),
        cases=(*CASES, Case("half-a-step", lambda: witness(0.5), "NOT_APPLICABLE")),
    ),
)
