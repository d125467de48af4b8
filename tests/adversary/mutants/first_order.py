"""Hessian-free and first-order statements, broken."""

from __future__ import annotations

from pfl_theory.claims import first_order_floor as floor
from pfl_theory.claims import hessian_free_error as free

from . import Mutant, closed, first_pair, left_times, right_times, sides, without

MUTANTS = (
    Mutant(
        "delta^2 for delta", "hessian-free-error", "paper", "", sides(free._sides(lambda L, r, d, s: r * d**2 * s**2))
    ),
    Mutant("right side a third", "hessian-free-error", "paper", "", right_times(1 / 3)),
    Mutant(
        "the minimum dropped",
        "hessian-free-error",
        "sharp",
        "",
        sides(free._sides(lambda L, r, d, s: r * d * s**2 / 2)),
    ),
    Mutant("first pair for the worst", "hessian-free-error", "sharp", "", first_pair),
    Mutant("variant not looked at", "hessian-free-error", "sharp", "", without("Hessian-free")),
    Mutant("12 for 6", "hessian-free-error", "sharp", "third-order", right_times(0.5)),
    Mutant("one half for L", "first-order-bias", "sharp", "", right_times(0.5)),
    Mutant("left side halved", "first-order-bias", "sharp", "", left_times(0.5)),
    Mutant("FO need not stand still", "first-order-floor", "paper", "", without("FO stands still")),
    Mutant("O(1) read as 1", "first-order-floor", "paper", "", closed),
    Mutant("a dropped", "first-order-floor", "sharp", "", sides(floor._sides(floor.floor, convex=True))),
    Mutant(
        "gamma_G alone",
        "first-order-floor",
        "sharp",
        "",
        sides(floor._sides(lambda a, L, B, g, h: a * min(h, L) * g, convex=False)),
    ),
    Mutant("a kept", "first-order-floor", "sharp", "convex", sides(floor._sides(floor.convex_floor, convex=False))),
    Mutant("convex dropped", "first-order-floor", "sharp", "convex", without("every f_i convex")),
)
