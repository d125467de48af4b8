"""FedFomo's weights: where they lie, what leaves them alone, how far eps moves them, how long the step is."""

from __future__ import annotations

from typing import Any

from ..mathematics.candidates import Choice, choices, norm_and_eps
from ..real import ONE, mp, norm
from ..ruling import Pair, Ruling, refused

KINDS = ("candidates",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a user."""
    kind, eps = norm_and_eps(instance)
    if form == "eps" and not (kind == "l2" and eps > 0):
        return refused("nothing is added to the l2 norm")
    if form in ("unchanged", "step") and (kind, eps) != ("l2", 0):
        return refused("weights by another formula")
    found = choices(instance)
    if isinstance(found, Ruling):
        return found
    if form in ("", "unchanged"):
        return Ruling(True, pairs=[Pair(ONE, ONE) for _ in found])
    return Ruling(True, pairs=[_step(one) if form == "step" else _moved(one, eps) for one in found])


def _step(one: Choice) -> Pair:
    mean = mp.fsum(one.gain) / mp.fsum(g / d for g, d in zip(one.gain, one.far, strict=True))
    return Pair(norm(one.move), mean)


def _moved(one: Choice, eps: Any) -> Pair:
    u = [g / d for g, d in zip(one.gain, one.far, strict=True)]
    exact = [v / mp.fsum(u) for v in u]
    tv = mp.fsum(abs(a - b) for a, b in zip(exact, one.weight, strict=True)) / 2
    root = mp.sqrt(min(one.far) / (min(one.far) + eps))
    return Pair(tv, (1 - root) / (1 + root))
