"""Lemma 4.2, broken."""

from __future__ import annotations

from pfl_theory.claims import lemma_4_2 as claim
from pfl_theory.rigour.interval import Interval

from . import Mutant, right_times, sides, too_sure, without

PAPER, SHARP, LINE, CONVEX = ("paper", ""), ("sharp", ""), ("sharp", "one-dimensional"), ("sharp", "convex")


def lemma(what, form, change=None, patches=()):
    return Mutant(what, "lemma-4.2", *form, change, patches)


def first_user(instance):
    value, error = instance.problem.meta_smoothness(instance.alpha)
    return Interval.with_error(float(value[0]), float(error[0])), "all w"


MUTANTS = (
    lemma("right side halved", PAPER, right_times(0.5)),
    lemma("right side a millionth less", PAPER, right_times(1 - 1e-6)),
    lemma("3 L for 4 L", PAPER, sides(claim._sides(lambda a, L, rho, B: 3 * L + a * rho * B))),
    lemma("rho B without alpha", PAPER, sides(claim._sides(lambda a, L, rho, B: 4 * L + rho * B))),
    lemma("alpha <= 1/L dropped", PAPER, without("alpha <= 1/L")),
    lemma("the ball dropped", SHARP, without("ball")),
    lemma("a for a^2", SHARP, sides(claim._sides(lambda a, L, rho, B: (1 + a * L) * L + a * rho * B))),
    lemma("sign turned", SHARP, sides(claim._sides(lambda a, L, rho, B: (1 - a * L) ** 2 * L + a * rho * B))),
    lemma("rounding forgotten", SHARP, too_sure()),
    lemma(
        "alpha L^2 / 2 added",
        LINE,
        sides(claim._sides(lambda a, L, rho, B: (1 + a * L) ** 2 * L + a * rho * B + a * L**2 / 2)),
    ),
    lemma("d = 1 dropped", LINE, without("d = 1")),
    lemma("first user for the worst", LINE, None, (("claims.lemma_4_2.left_side", first_user),)),
    lemma("convex dropped", CONVEX, without("every f_i convex")),
    lemma("L + c alone", CONVEX, sides(claim._sides(lambda a, L, rho, B: L + a * rho * B))),
)
