"""What FedFomo's combined step does to the loss."""

from __future__ import annotations

from typing import Any

from ..mathematics.candidates import Choice, choices, norm_and_eps
from ..mathematics.hypotheses import convex
from ..real import Real, mp, norm, real
from ..ruling import Pair, Ruling, refused

KINDS = ("candidates", "curves")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a user, of the convex form one a user and winner."""
    found = choices(instance, 1 if form == "convex" else 2)
    if form == "damped" and instance.alpha > 1:
        return refused("t > 1")
    if form == "convex":
        if norm_and_eps(instance) != ("l2", 0):
            return refused("weights by another formula")
        if instance.problem.kind != "functions" and not isinstance(found, Ruling) and not convex(instance):
            return refused("not convex") if convex(instance) is False else Ruling(None)
    if isinstance(found, Ruling):
        return found
    if form == "convex":
        return Ruling(True, pairs=[pair for one in found for pair in _gained(one)])
    return Ruling(True, pairs=[_pair(form, one, real(instance.alpha)) for one in found if len(one.far) > 1])


def _pair(form: str, one: Choice, alpha: Real) -> Pair:
    L, m = one.user.L, one.user.m
    squares = mp.fsum(w * d * d for w, d in zip(one.weight, one.far, strict=True))
    moved = norm(one.move) ** 2
    if form == "damped":
        mean = (1 - alpha) * one.base_loss + alpha * one.mean_loss
        return Pair(one.seen(one.loss_at(alpha) - mean), m / 2 * (alpha * squares - alpha**2 * moved))
    above = one.seen(one.loss_at(mp.mpf(1)) - one.mean_loss)
    if form == "lower":
        return Pair(-above, L / 2 * one.spread)
    return Pair(above, L / 2 * (squares + moved) if form == "descent-lemma" else m / 2 * one.spread)


def _gained(one: Choice) -> list[Pair]:
    gained, pairs = one.base_loss - one.loss_at(mp.mpf(1)), []
    for b, gain in enumerate(one.gain):
        others = mp.fsum(one.far[b] / d for n, d in enumerate(one.far) if n != b)
        pairs.append(Pair(2 * gain / (1 + mp.sqrt(1 + others)), gained))
    return pairs
