"""Lemma 4.4, broken."""

from __future__ import annotations

from pfl_theory.claims import lemma_4_4 as claim
from pfl_theory.problems.curves import heterogeneity

from . import Mutant, right_times, sides, without


def of(what, version, form="", change=None, patches=()):
    return Mutant(what, "lemma-4.4", version, form, change, patches)


def sharp(a, L, B, g, h):
    return ((1 + a * L) * g + a * B * h) ** 2


def alike(problem):
    """As if Hessians agreed."""
    return heterogeneity(problem.family.curves)[0], 0.0


MUTANTS = (
    of("96 for 192", "paper", "", sides(claim._sides(lambda a, L, B, g, h: 3 * (B * a * h) ** 2 + 96 * g**2))),
    of("alpha for alpha^2", "paper", "", sides(claim._sides(lambda a, L, B, g, h: 3 * B**2 * a * h**2 + 192 * g**2))),
    of("alpha <= 1/L dropped", "paper", "", without("alpha <= 1/L")),
    of("a for a^2", "sharp", "", sides(claim._sides(sharp))),
    of("gamma_H left out", "sharp", "", None, (("claims.lemma_4_4.gammas", alike),)),
    of("right side halved", "sharp", "", right_times(0.5)),
    of("the first member alone", "sharp", "convex", sides(claim._sides(sharp))),
    of("convex dropped", "sharp", "convex", without("every f_i convex")),
)
