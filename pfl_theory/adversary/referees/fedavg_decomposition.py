"""FedAvg's gradients against first-order MAML's, and what the Taylor expansion leaves."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import constant
from ..mathematics.local_runs import Found, Steps, added, remainder, steps_of, update
from ..real import Real, mp, norm
from ..ruling import Pair, Ruling

KINDS = ("local_runs",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a user and point; of the identity one a point."""
    if form == "":
        found = steps_of(instance)
        if isinstance(found, Ruling):
            return found
        sizes = [norm(update(runs, 1)) for runs in found.runs]
        return Ruling(found.applies, pairs=[Pair(v, v) for v in sizes])
    need = ("L", "rho") if form == "growing" else ("L", "rho", "B")
    found = steps_of(instance, several=True, ball=True, need=need)
    if isinstance(found, Ruling):
        return found
    constants = [constant(instance, name) for name in need]
    return Ruling(found.applies, pairs=[_pair(form, run, found, constants) for runs in found.runs for run in runs])


def _pair(form: str, run: Steps, found: Found, constants: list[Any]) -> Pair:
    a, K = found.a, found.K
    size = max(norm(g) for g in run.gradients)
    if form == "sum":
        left = norm(added([remainder(run, a, j) for j in range(1, K + 1)]))
    else:
        left = norm(remainder(run, a, K))
    left = mp.mpf(0) if left < mp.mpf(10) ** -40 * size else left
    return Pair(left, _right(form, a, K, norm(run.gradients[0]), *constants))


def _right(form: str, a: Real, K: int, G: Real, L: Real, rho: Real, B: Real = 0) -> Real:
    n = K - 1
    if form == "growing":
        with mp.workdps(4 * mp.dps):  # of a small x only the square is left
            x = a * L
            grown = (1 + x) ** n - 1
            reach = a * n if L == 0 else grown / L
            bent = grown - n * x if n > 1 else mp.mpf(0)
            return bent * G + rho / 2 * reach**2 * G**2
    if form == "bounded":
        return a**2 * (L**2 * B * n * (n - 1) / 2 + rho * B**2 * n**2 / 2)
    if form == "crude":
        return a**2 * n**2 * (L**2 * B + rho * B**2) / 2
    return a**2 * B * (L**2 * K * n * (K - 2) / 6 + rho * B * K * n * (2 * K - 1) / 12)
