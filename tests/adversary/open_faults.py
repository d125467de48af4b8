"""Faults of the package that the attack has found and that are not mended yet: what its failures say, and where.

Each is reproduced by an instance of the sequence; a test asks that it still is, so that what was mended comes off this
list.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Fault(NamedTuple):
    """Failures of these statements that say this; `number` is an instance of seed `seed` that shows it."""

    claims: str  # regular expressions
    says: str
    why: str
    claim: str
    number: int
    seed: int = 0


OPEN = (
    Fault(
        "tv-.*|w1-.*|gamma-chain",
        "users have curvatures of their own|A holds . matrices but there are . users",
        "quadratic users with matrices of their own are judged as if one loss gave all f_i",
        "gamma-chain",
        28,
    ),
    Fault(
        "tv-.*|gamma-chain",
        "has no labels; leave kappa out",
        "a federation of one row in all: a loss without labels is taken to read them",
        "tv-gradient",
        43,
    ),
    Fault("w1-.*", "has real targets", "the same, seen by the distances", "w1-hessian", 2),
    Fault("w1-hessian", "rows (split|merged)", "the same, seen by an invariance", "w1-hessian", 35),
    Fault("lemma-4.3-bias", "a side of a claim is NaN", "0/0 in Huber's function where rho is 0", "lemma-4.3-bias", 3),
    Fault(
        "lemma-4.3-.*",
        "ends exclude the truth.* on Cosine on rows",
        "the cosine loss's sigma of near or far rows is off by more than the roundings that are counted",
        "lemma-4.3-error",
        79,
    ),
    Fault(
        "theorem-4.5.*",
        "bias without bound",
        "FO, and FedAvg on F, of unbounded quadratics: an error where a hypothesis fails",
        "theorem-4.5",
        3,
    ),
    Fault(
        "theorem-4.5.*",
        "without replacement",
        "batches that the data do not allow: an error where a hypothesis fails",
        "theorem-4.5-full",
        100,
        2,
    ),
    Fault(
        "theorem-4.5.*",
        "ZeroDivisionError",
        "straight users: L_F is 0 up to a rounding, and growth divides by it",
        "theorem-4.5",
        12,
    ),
)


def is_open(failure) -> bool:
    """Whether a failure is one of these."""
    return any(re.fullmatch(f.claims, failure.claim) and re.search(f.says, failure.what) for f in OPEN)
