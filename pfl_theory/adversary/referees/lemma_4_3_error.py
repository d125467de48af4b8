"""The mean square error of the stochastic meta-gradient, every batch written out."""

from __future__ import annotations

from typing import Any

from ..mathematics.batches import factor
from ..mathematics.hypotheses import constant
from ..real import real
from ..ruling import Pair, Ruling
from .lemma_4_3_bias import both, every, hypotheses, loose

KINDS = ("batches", "batches_of_rows")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair for every user at every point."""
    applies, stop = hypotheses(version, form, instance, ("L", "B", "sigma_G", "sigma_H"))
    if stop is not None:
        return stop
    sizes, alpha = instance.algorithm, real(instance.alpha)
    L, B, sg, sh = (constant(instance, name) for name in ("L", "B", "sigma_G", "sigma_H"))
    pairs = []
    for data, w in every(instance):
        d, d1, d2 = (
            factor(size, len(data.weights), replace=sizes.replace or version == "paper")
            for size in (sizes.batch_inner, sizes.batch_outer, sizes.batch_hessian)
        )
        noise = sg**2 * (d1 + (alpha * L) ** 2 * d)
        if version == "paper":
            right = 12 * (B**2 + noise) * (1 + sh**2 * alpha**2 * d2 / 4) - 12 * B**2
        else:
            a = 1 if form == "convex" else 1 + alpha * L
            right = a**2 * noise + alpha**2 * sh**2 * d2 * (B**2 + sg**2 * d1)
        pairs.append(Pair(both(instance, data, w)[1], right, loose(instance)))
    return Ruling(applies, pairs=pairs)
