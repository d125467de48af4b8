"""What FedFomo's weights miss of the gradient, and of the best convex combination."""

from __future__ import annotations

from typing import Any

from ..mathematics.candidates import Choice, choices
from ..mathematics.hypotheses import convex
from ..mathematics.models import OnLine, OnRows, squared_radius
from ..real import Real, dot, mp
from ..ruling import Pair, Ruling, refused

KINDS = ("candidates",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a user, of the gradient's form one a user and winner."""
    found = choices(instance)
    if instance.problem.kind == "functions" and form == "gradient":
        return refused("gradients of functions are not known up to rounding")
    if isinstance(found, Ruling):
        return found
    if form == "gradient":
        return Ruling(True, pairs=[pair for one in found for pair in _slopes(one)])
    answer = convex(instance) if form == "convex" or instance.problem.dim > 1 else True
    if answer is not True:
        return refused("not convex") if answer is False else Ruling(None)
    return Ruling(True, pairs=[_gap(form, one) for one in found])


def _slopes(one: Choice) -> list[Pair]:
    g = one.user.first(one.base)
    return [
        Pair(one.seen(abs(gain + dot(g, d))) / far, one.user.L * far / 2)
        for gain, d, far in zip(one.gain, one.away, one.far, strict=True)
    ]


def _gap(form: str, one: Choice) -> Pair:
    gap = one.seen(one.loss_at(mp.mpf(1)) - _least(one))
    rest = mp.fsum(w * (v - min(one.losses)) for w, v in zip(one.weight, one.loss, strict=True))
    rest += one.user.L / 2 * squared_radius(one.candidates)
    return Pair(gap, rest if form == "convex" else rest + one.user.m / 2 * one.spread)


def _least(one: Choice) -> Real:
    if isinstance(one.user, OnLine):
        places = [w[0] for w in one.candidates]
        return one.user.least(min(places), max(places))
    assert isinstance(one.user, OnRows)
    return one.user.least(one.candidates)
