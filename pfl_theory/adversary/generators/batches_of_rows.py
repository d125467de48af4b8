"""Losses on a few rows, for statements about batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...federations.federation import Federation
from ...judging.instance import Instance
from ...problems.problem import Problem
from . import _batches, rows

NAMES = ("Logistic", "Softmax", "Cosine", "LogCosh", "Quadratic", "LeastSquares")


def draw(rng: np.random.Generator) -> Instance:
    """One user of one to three rows at one point."""
    base = rows.draw(rng, names=NAMES)
    fed = base.problem.federation.select([0])
    m = min(int(fed.sizes[0]), 3)
    p = fed.weights[:m] / fed.weights[:m].sum()
    y = None if fed.y is None else [fed.y[:m]]
    few = Federation.from_arrays([fed.x[:m]], y, sample_weight=[p])
    loss: Any = base.problem.loss
    if getattr(loss, "A", None) is not None and len(loss.A) > 1:
        loss = type(loss)(loss.A[0])
    ball = base.ball if rng.random() < 0.2 else None
    support = int((few.weights > 0).sum())
    return dataclasses.replace(
        base,
        problem=Problem(loss, few),
        points=base.points[:1],  # type: ignore[index]
        ball=ball,
        algorithm=_batches.algorithm(rng, base.alpha, support),
        name=f"{base.name}, batches",
    )
