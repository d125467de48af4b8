"""FedAvg against Per-FedAvg with inner step a (K - 1)/4."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import constant
from ..mathematics.local_runs import Steps, steps_of, update
from ..real import Real, mean, minus, mp, norm, real
from ..ruling import Pair, Ruling, refused

KINDS = ("local_runs",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    need = ("L", "rho") if form == "quadratic" else ("L", "rho", "B")
    found = steps_of(instance, several=True, ball=form != "quadratic", need=need)
    if isinstance(found, Ruling):
        return found
    alpha, applies = real(instance.alpha), found.applies
    if form in ("", "quadratic"):
        asked = found.a * (found.K - 1) / 4
        off = abs(alpha - asked)
        if off > mp.mpf(2) ** -49 * asked:
            return refused("alpha is not a (K - 1)/4")
        applies, alpha = None if off > mp.mpf(2) ** -52 * asked else applies, asked
    if form == "quadratic" and constant(instance, "rho") != 0:
        return refused("rho > 0")
    L, rho = constant(instance, "L"), constant(instance, "rho")
    pairs = []
    for runs in found.runs:
        error = norm(minus(update(runs, found.K), mean([_meta(run, alpha) for run in runs])))
        size = max(norm(run.gradients[0]) for run in runs)
        error = mp.mpf(0) if error < mp.mpf(10) ** -40 * size else error
        if form == "quadratic":
            pairs.append(Pair(error, _series(found.a * L, found.K) * size))
            continue
        B = constant(instance, "B")
        rest = _rest(found.a, found.K, alpha, L, rho, B)
        bent = mean([run.user.product(run.start, run.gradients[0]) for run in runs])
        first = abs(found.a * (found.K - 1) / 2 - 2 * alpha) * norm(bent)
        sides = {"": (error, rest), "any-step": (error, rest + first), "necessary": (first - error, rest)}
        pairs.append(Pair(*sides[form]))
    return Ruling(applies, pairs=pairs)


def _meta(run: Steps, alpha: Real) -> list[Real]:
    v = run.user.first(minus(run.start, run.gradients[0], alpha))
    return minus(v, run.user.product(run.start, v), alpha)


def _rest(a: Real, K: int, alpha: Real, L: Real, rho: Real, B: Real) -> Real:
    local = L**2 * (K - 1) * (K - 2) / 6 + rho * B * (K - 1) * (2 * K - 1) / 12
    return a**2 * B * local + alpha**2 * B * (L**2 + (1 + alpha * L) * rho * B / 2)


def _series(x: Real, K: int) -> Real:
    """Absolute coefficients of ((1 + x)^K - 1)/(K x) - (1 + (K-1) x/4)^2, by hand."""
    found = mp.mpf(0)
    for m in range(2, max(K, 3)):
        c = mp.binomial(K, m + 1) / K - (mp.mpf(K - 1) ** 2 / 16 if m == 2 else 0)
        found += abs(c) * x**m
    return found
