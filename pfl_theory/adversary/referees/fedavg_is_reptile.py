"""Reptile with plain server steps moves along FedAvg's own step."""

from __future__ import annotations

from typing import Any

from ..mathematics.local_runs import steps_of, update
from ..real import norm, real
from ..ruling import Pair, Ruling, refused

KINDS = ("local_runs",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """The length of the step, on both sides."""
    if type(instance.algorithm).__name__ != "Reptile":
        return refused("not Reptile")
    found = steps_of(instance)
    if isinstance(found, Ruling):
        return found
    rate = real(instance.algorithm.server_step)
    if form == "bits" and rate != 1:
        return refused("the server step is not 1")
    sizes = [rate * found.a * norm(update(runs, 1)) for runs in found.runs]
    return Ruling(found.applies, pairs=[Pair(v, v) for v in sizes])
