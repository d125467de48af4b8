"""FedAvg against Per-FedAvg with inner step a (K - 1)/4."""

from __future__ import annotations

from typing import Any

from ..mathematics.hypotheses import at_most, constant, worst
from ..mathematics.local_runs import Steps, steps_of, update
from ..real import Real, mean, minus, mp, norm, real, reals
from ..ruling import Pair, Ruling, refused

KINDS = ("local_runs",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """A pair a point."""
    need = ("L", "rho") if form == "quadratic" else ("L", "rho", "B")
    found = steps_of(instance, several=True, ball=form != "quadratic", need=need)
    if isinstance(found, Ruling):
        return found
    alpha, applies = real(instance.alpha), found.applies
    if form in ("", "quadratic", "leading"):
        asked = found.a * (found.K - 1) / 4
        off = abs(alpha - asked)
        if off > mp.mpf(2) ** -49 * asked:
            return refused("alpha is not a (K - 1)/4")
        applies, alpha = None if off > mp.mpf(2) ** -52 * asked else applies, asked
    if form == "quadratic" and constant(instance, "rho") != 0:
        return refused("rho > 0")
    if form == "leading" and instance.ball is not None:
        answer = worst(*(_straight(instance, run, found.a * (found.K - 1)) for runs in found.runs for run in runs))
        if answer is False:
            return refused("theta - a (K - 1) g is out of the ball")
        applies = applies if answer else None
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
        if form == "leading":
            pairs.append(Pair(error, _leading(found.a, found.K, alpha, L, rho, B)))
            continue
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


def _straight(instance: Any, run: Steps, length: Real) -> bool | None:
    centre = instance.ball[1]
    middle = reals(centre) if centre is not None else [mp.mpf(0)] * instance.problem.dim
    return at_most(norm(minus(minus(run.start, run.gradients[0], length), middle)), real(instance.ball[0]))


def _leading(a: Real, K: int, alpha: Real, L: Real, rho: Real, B: Real) -> Real:
    """Sums over j as they come: |mean of (j-1)(j-2)/2 - (K-1)^2/16|, mean of (j-1)^2/2 less half of alpha^2 / a^2."""
    every = range(1, K + 1)
    h2 = abs(sum(mp.mpf((j - 1) * (j - 2)) / 2 for j in every) / K - mp.mpf(K - 1) ** 2 / 16)
    e2 = sum(mp.mpf(j - 1) ** 2 for j in every) / (2 * K) - mp.mpf(K - 1) ** 2 / 32
    third = mp.mpf(0)
    for j in every:
        before = [(L**2 * B * (i - 1) * (i - 2) / 2 + rho * B**2 * mp.mpf(i - 1) ** 2 / 2) for i in range(1, j)]
        third += L * mp.fsum(before) + rho * (j - 1) * B * L * B * (j - 1) * (j - 2) / 2
    return a**2 * B * (L**2 * h2 + rho * B * e2) + a**3 * third / K + alpha**3 * L * rho * B**2 / 2


def _series(x: Real, K: int) -> Real:
    """Absolute coefficients of ((1 + x)^K - 1)/(K x) - (1 + (K-1) x/4)^2, by hand."""
    found = mp.mpf(0)
    for m in range(2, max(K, 3)):
        c = mp.binomial(K, m + 1) / K - (mp.mpf(K - 1) ** 2 / 16 if m == 2 else 0)
        found += abs(c) * x**m
    return found
