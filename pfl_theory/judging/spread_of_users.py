"""gamma_G and gamma_H for every w, from what the instance names: the functions themselves, or a distance of data.

The right side of a statement about runs needs them at points that nobody knows before the run. Which road was taken
stands in the verdict's reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..memory import remembered
from ..problems.best_kappa import best_kappa
from ..problems.constants import trivial_heterogeneity
from ..problems.curves import gradient_error
from ..rigour.rounding import UNIT
from .hypotheses import CONVEX, bound
from .instance import Instance
from .on_curves import gammas
from .on_data import CLASSES, ON_DATA, on_points, w1_pairs, w1_to_average
from .staying import reach


class Spread(NamedTuple):
    """gamma_G and gamma_H for every w that a run can meet, what rounding may hide of gamma_G, how they are known."""

    gamma_G: float  # noqa: N815 - the paper's symbol
    gamma_H: float  # noqa: N815 - the paper's symbol
    error: float
    how: str


def spread_of_users(instance: Instance) -> Spread:
    """gamma_G and gamma_H by the road that the instance names, kept on it."""
    return remembered(instance, "spread of users", lambda: ROADS[instance.gamma](instance))


def road_is_open(instance: Instance) -> str | None:
    """Why the road that the instance names leads nowhere, or None."""
    if instance.gamma in ("tv", "w1"):
        closed = ON_DATA.check(instance) or (CLASSES.check(instance) if instance.gamma == "w1" else None)
        if closed is not None:
            return f"gamma = {instance.gamma!r}: {closed}"
    try:
        found = spread_of_users(instance)
    except InputError as error:
        return f"gamma = {instance.gamma!r}: {error}."
    finite = math.isfinite(found.gamma_G) and math.isfinite(found.gamma_H)
    return None if finite else f"gamma = {instance.gamma!r}: {found.how}."


def _rounding(instance: Instance) -> float:
    """Of a difference of users' gradients."""
    if instance.problem.kind != "rows":
        return 0.0
    fed = instance.problem.federation
    return 4 * (int(fed.sizes.max()) + fed.n_features + fed.n_users + 64) * UNIT * bound(instance, "B_datum")


def known(instance: Instance) -> Spread:
    """Exact where the functions tell it for every w, else the trivial bound."""
    if instance.problem.kind == "curves":
        curves = instance.problem.family.curves
        return Spread(*gammas(instance.problem), 4 * gradient_error(curves), "gamma is that of the curves")
    c = instance.constants
    if not ("gamma_G" in c and c["gamma_G"].usable and "gamma_H" in c and c["gamma_H"].usable):
        return trivial(instance)
    exact = c["gamma_G"].how == "exact"
    how = f"gamma is {'exact' if exact else 'an upper bound'}: {c['gamma_G'].reason.strip()}"
    return Spread(c["gamma_G"].max(), c["gamma_H"].max(), _rounding(instance) if exact else 0.0, how)


def trivial(instance: Instance) -> Spread:
    """From the sizes of gradients and Hessians alone: no two users need be alike."""
    B, L = instance.constants.get("B"), instance.constants.get("L")
    if B is None or L is None or not (B.usable and L.usable):
        return Spread(math.inf, math.inf, 0.0, "the trivial bound needs B and L")
    found = trivial_heterogeneity(B.values, L.values, convex=CONVEX.check(instance) is None)
    gamma_g, gamma_h = (v * (1 + 2.0**-40) for v in found)
    return Spread(gamma_g, gamma_h, 0.0, "gamma is the trivial bound, from B and L")


def from_total_variation(instance: Instance) -> Spread:
    """2 B_datum and 2 L_datum (L_datum for convex losses) times the r.m.s. of TV(p_i, p) [theory 8.3]."""
    m = on_points(instance.problem).mean_square().upper
    apart = math.sqrt(m) * (1 + 2.0**-40)
    bend = 1.0 if instance.problem.loss.convex else 2.0
    B, L = bound(instance, "B_datum"), bound(instance, "L_datum")
    return Spread(2 * B * apart, bend * L * apart, 0.0, f"gamma is bounded by total variation, r.m.s. {apart:.4g}")


def from_wasserstein(instance: Instance) -> Spread:
    """L_Z and rho_Z times the root of min(M, P) of W1 [theory 8.4], with the best price of a label, on the ball that
    the run does not leave where features move.
    """
    problem, place = instance.problem, {}
    best = best_kappa(problem)
    where = "for every w"
    if not best.lip.usable:
        radius = float(np.linalg.norm(reach(instance).centre)) + reach(instance).radius
        if not math.isfinite(radius):
            return Spread(math.inf, math.inf, 0.0, "L_Z grows with ||w||, and nothing bounds where the run goes")
        place, where = {"radius": radius}, f"where ||w|| <= {radius:.4g}, which the run does not leave"
        best = best_kappa(problem, **place)  # type: ignore[arg-type]
        if not best.lip.usable:
            return Spread(math.inf, math.inf, 0.0, f"L_Z: {best.lip.reason}")
    fed = problem.federation
    m, p = w1_to_average(fed, best.kappa).M[1], w1_pairs(fed, best.kappa).P[1]
    apart = math.sqrt(min(m, p)) * (1 + 2.0**-40)
    features = w1_to_average(fed, None).M[1] if best.kappa is not None else m
    bend = problem.constants(**place)["lip_hessian_z"]  # type: ignore[arg-type]
    gamma_h = trivial(instance).gamma_H
    if bend.usable:
        gamma_h = min(gamma_h, bend.max() * math.sqrt(features) * (1 + 2.0**-40))
    label = "" if best.kappa is None else f", label price {best.kappa:.4g}"
    how = f"gamma is bounded by W1, root of min(M, P) {apart:.4g}{label}, L_Z {best.lip.max():.4g} {where}"
    return Spread(best.lip.max() * apart, gamma_h, 0.0, how)


ROADS: dict[str, Callable[[Instance], Spread]] = {
    "known": known,
    "tv": from_total_variation,
    "w1": from_wasserstein,
    "trivial": trivial,
}
