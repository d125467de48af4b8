"""Both parts of Lemma 4.3, broken."""

from __future__ import annotations

import math

from pfl_theory.claims import lemma_4_3_bias as bias
from pfl_theory.claims import lemma_4_3_error as error
from pfl_theory.theory.lemmas import huber

from . import Mutant, first_pair, right_times, sides, without


def always_with_replacement(size, m, *, replace):
    return 0.0 if size is None else 1.0 / size


def of(what, claim, version, form="", change=None, patches=()):
    return Mutant(what, f"lemma-4.3-{claim}", version, form, change, patches)


def squared(n, a):
    return a**2 * n.sigma_G**2 * (n.c_outer + (n.alpha * n.L) ** 2 * n.c_inner)


MUTANTS = (
    of(
        "1/D for 1/sqrt(D)",
        "bias",
        "paper",
        "",
        sides(bias._sides(lambda a, L, r, s, c: 2 * a * L * s * c, statement=True)),
    ),
    of("alpha <= 1/L dropped", "bias", "paper", "", without("alpha <= 1/L")),
    of("whole space dropped", "bias", "sharp", "", without("whole space")),
    of(
        "factor 1 + alpha L dropped",
        "bias",
        "sharp",
        "",
        sides(bias._sides(lambda a, L, r, s, c: huber(a * s * math.sqrt(c), L, r))),
    ),
    of(
        "a parabola for Huber",
        "bias",
        "sharp",
        "",
        sides(bias._sides(lambda a, L, r, s, c: (1 + a * L) * r * (a * s) ** 2 * c / 2)),
    ),
    of(
        "with replacement always",
        "bias",
        "sharp",
        "",
        None,
        (("claims.lemma_4_3_bias.batch_factor", always_with_replacement),),
    ),
    of("batches not looked at", "bias", "sharp", "", without("batches of exact")),
    of(
        "L for L/2",
        "bias",
        "sharp",
        "convex",
        sides(bias._sides(lambda a, L, r, s, c: huber(a * s * math.sqrt(c), L, r))),
    ),
    of("alpha <= 2/L dropped", "bias", "sharp", "convex", without("alpha <= 2/L")),
    of(
        "- 12 B^2 forgotten",
        "error",
        "paper",
        "",
        sides(error._sides(lambda n: 12 * n.B**2 + 12 * squared(n, 1), statement=True)),
    ),
    of("no Hessian noise", "error", "sharp", "", sides(error._sides(lambda n: squared(n, 1 + n.alpha * n.L)))),
    of(
        "c_D' and c_D'' exchanged",
        "error",
        "sharp",
        "",
        sides(error._sides(lambda n: error.error_sharp(n._replace(c_outer=n.c_hessian, c_hessian=n.c_outer)))),
    ),
    of("first pair for the worst", "error", "sharp", "", first_pair),
    of(
        "with replacement always",
        "error",
        "sharp",
        "",
        None,
        (("claims.lemma_4_3_error.batch_factor", always_with_replacement),),
    ),
    of("right side a third", "error", "paper", "", right_times(1 / 3)),
    of("1 + alpha L kept", "error", "sharp", "convex", sides(error._sides(lambda n: error.error_sharp(n)))),
    of("convex dropped", "error", "sharp", "convex", without("f_i convex")),
)
