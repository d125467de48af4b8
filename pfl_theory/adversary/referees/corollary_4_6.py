"""Corollary 4.6: its rate as transcribed and corrected, and the rounds that instance I needs."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from ..mathematics import readings
from ..mathematics.hypotheses import constant
from ..mathematics.lines import lines_of
from ..mathematics.runs import exact_run, is_run, participation, steps_of
from ..real import ONE, ZERO, Real, average, mp, real
from ..ruling import Pair, Ruling, refused, unsettled

KINDS = ("corollary", "runs")


def rule(version: str, form: str, instance: Any) -> Ruling:
    """M^2 at the corollary's parameters, or the least number of rounds."""
    if form.startswith("rounds"):
        return _rounds(form, instance)
    missing = is_run(instance)
    if missing or instance.epsilon is None:
        return refused(missing or "no accuracy")
    epsilon = Fraction(repr(float(instance.epsilon)))  # the decimal that names the float
    steps = steps_of(instance)
    asked = (_ceil_root(1 / epsilon), _ceil_root(1 / epsilon**3), float(instance.epsilon))
    if (steps.tau, steps.K, float(steps.beta)) != asked:
        return refused("not the corollary's parameters")
    applies, why = readings.on_assumptions(
        instance, readings.sharp, limit=ONE / 10, exact=False, full=form == "all-users"
    )
    if applies is False:
        return refused(why)
    run = exact_run(instance) if not why else None
    if run is None:
        return unsettled(why or "too much to write out")
    e = real(epsilon)
    if version == "paper":
        bias = (real(instance.alpha) * constant(instance, "sigma_G")) ** 2 * readings.shares(instance)[0]
        return Ruling(applies, pairs=[Pair(run.M2, e + bias)], open_constant=True)
    found = readings.sharp(instance)
    a = readings.assumption_terms(instance, found)
    delta, L, root = a.Phi * steps.beta * steps.tau * steps.K, found.L_F, mp.sqrt(e)
    if form == "all-users":
        right = e * (2 * delta + L * a.v2 + L**2 * a.gamma2 * (1 + root)) + real(1961) / 1000 * a.b2
    else:
        c0, c1, c2v, c2g, c3, c4 = (real(v) / 100 for v in (246, 234, 420, 203, 194, 487))
        linear = c0 * delta + c1 * L * a.v2 / a.m + c2v * L**2 * a.v2 * root + c2g * L**2 * a.gamma2 * (1 + root)
        right = c3 * L * a.p * a.gamma2 * (root + e) + e * linear + c4 * a.b2
    return Ruling(applies, pairs=[Pair(run.M2, right)])


def _ceil_root(square: Fraction) -> int:
    """Least whole t with t^2 >= square."""
    t = math.isqrt(math.ceil(square))
    return t if t * t >= square else t + 1


# -- rounds of instance I ------------------------------------------------------------------------------------------


def _rounds(form: str, instance: Any) -> Ruling:
    why = _not_instance_one(instance)
    if why:
        return refused(why)
    lines, steps = lines_of(instance.problem), steps_of(instance)
    w0 = ZERO if instance.w0 is None else real(instance.w0[0])
    slopes = [line.first(w0) for line in lines]
    middle = average(slopes)
    A, P = middle**2, participation(steps.n, steps.m) * average([(s - middle) ** 2 for s in slopes])
    if instance.epsilon is None:
        return refused("no accuracy")
    e = real(Fraction(repr(float(instance.epsilon))))
    limits = (P <= A, e <= A / 10, e <= P / 2)
    near = min(abs(P - A) / max(A, P), abs(e - A / 10) / e, abs(e - P / 2) / e) if A and P else ONE
    if not all(limits):
        return refused("p gamma^2 or epsilon too large") if near > mp.mpf(10) ** -12 else unsettled("at a limit")
    least = _least(e, A, P)
    needed, enough = A * P / e**2, mp.ceil(A * (P + e) / e**2)
    pair = Pair(needed, least) if form == "rounds-necessary" else Pair(least, enough)
    # the package knows the least number of rounds within 1e-6
    applies = True if near > mp.mpf(10) ** -12 else None
    return Ruling(applies, pairs=[pair])


def _not_instance_one(instance: Any) -> str:
    missing = is_run(instance)
    if missing:
        return missing
    if instance.problem.kind != "curves":
        return "users are not piecewise functions of one variable"
    algorithm, steps = instance.algorithm, steps_of(instance)
    if instance.alpha != 0 or type(algorithm).__name__ != "FedAvg":
        return "not FedAvg at alpha = 0"
    if steps.m == steps.n:
        return "all users take part"
    lines, family = lines_of(instance.problem), instance.problem.family
    cuts = sorted({x for line in lines for x in line.x})
    if any(line.second(x) != lines[0].second(x) for line in lines for x in cuts):
        return "curvatures differ"
    if any(h < 0 for h in lines[0].h):
        return "not convex"
    if family.noise is not None and algorithm.batch is not None:
        return "noise"
    L = lines[0].L
    if steps.beta * L > 1:
        return "beta > 1/L"
    w0 = ZERO if instance.w0 is None else real(instance.w0[0])
    if L == 0 or lines[0].second(w0) != L:
        return "f'' is not L at w_0"
    centres = [w0 - line.first(w0) / L for line in lines]
    low, high = min(w0, *centres), max(w0, *centres)
    inside = [x for x in lines[0].x if low < x < high]
    if lines[0].outside(low) or lines[0].outside(high) or any(lines[0].second(x) != L for x in (low, *inside, high)):
        return "f'' is not L up to the minimisers"
    return ""


def _least(e: Real, A: Real, P: Real) -> Real:
    """The least K for which some sigma in (0, 1) gives g A + (1 - g) P sigma <= e, g = (1 - q^(2K)) / (K (1 - q^2)).

    For fixed K the best sigma by golden section about sqrt(A / (4 P K)): there the function has one minimum.
    """

    def best(K: int) -> Real:
        def value(log_sigma: Real) -> Real:
            sigma = mp.exp(log_sigma)
            q = (1 - sigma) / (1 + sigma)
            g = (1 - q ** (2 * K)) / (K * (1 - q * q))
            return g * A + (1 - g) * P * sigma

        middle = mp.log(A / (4 * P * K)) / 2
        low, high = middle - 3, min(middle + 3, -(mp.mpf(10) ** -9))
        for _ in range(70):
            c, d = low + (high - low) * 0.382, low + (high - low) * 0.618
            low, high = (low, d) if value(c) < value(d) else (c, high)
        return value((low + high) / 2)

    low, high = 1, max(2, int(mp.ceil(A * (P + e) / e**2)))
    while best(high) > e:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if best(middle) <= e else (middle, high)
    return real(high)
