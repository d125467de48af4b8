"""Theorem 4.5 and Corollary 4.6, broken."""

from __future__ import annotations

from pfl_theory.claims import corollary_4_6 as corollary
from pfl_theory.claims import theorem_4_5 as theorem
from pfl_theory.judging import run_constants
from pfl_theory.rigour.balls import Ball
from pfl_theory.theory import master, rates

from . import Mutant, closed, left_times, right_times, sides, without


def linear_without_tau(terms, constants):
    """x p gamma^2 for tau x p gamma^2."""
    c0, c1, c2v, c2g, c3, c4 = constants
    return master.linear(terms, (c0, c1, c2v, c2g, c3 * (1.0 / terms.tau), c4))


def everyone(n, m):
    """p = 0 whoever takes part."""
    return Ball(0.0)


def no_spread(instance, *, run=None):
    """All users alike."""
    return run_constants.exact_terms(instance, run=run)._replace(gamma2=Ball(0.0))


def rate(epsilon, terms, L_F, delta):
    """eps for sqrt(eps)."""
    return rates.rate_at_part(epsilon, terms._replace(p=terms.p * epsilon.sqrt()), L_F, delta)


T, F, C = "theorem-4.5", "theorem-4.5-full", "corollary-4.6"
DRIFT, SECOND = master.drift, master.second_drift  # as they are before a patch

MUTANTS = (
    Mutant("tau dropped", T, "corrected", "theorem-2", None, (("claims.theorem_4_5.linear", linear_without_tau),)),
    Mutant("right side halved", T, "corrected", "theorem-2", right_times(0.5)),
    Mutant("f_i need not be bounded below", T, "corrected", "theorem-2", without("bounded below")),
    Mutant("beta tau L_F <= 1/10 dropped", T, "corrected", "theorem-2", without("<= 1/10")),
    Mutant("p = 0", T, "corrected", "M-i", None, (("judging.run_constants.participation_factor", everyone),)),
    Mutant(
        "the drift doubled",
        T,
        "corrected",
        "M-i",
        None,
        (("theory.master.drift", lambda g, X, t: 2.0 * DRIFT(g, X, t)),),
    ),
    Mutant("M^2 for X^2", T, "corrected", "M-i", sides(theorem.sides_ii)),
    Mutant("gamma dropped", T, "corrected", "M-ii", None, (("judging.run_sides.exact_terms", no_spread),)),
    Mutant("left side a tenth less", T, "corrected", "M-ii", left_times(0.9)),
    Mutant("beta tau L_F <= 0.99 dropped", T, "corrected", "M-ii", without("0.99")),
    Mutant("O(1) read as 1", T, "paper", "sharp-constants", closed),
    Mutant("alpha <= 1/L dropped", T, "paper", "sharp-constants", without("alpha <= 1/L")),
    Mutant("the exact direction dropped", T, "paper", "lemma-constants", without("exact direction")),
    Mutant("r = 1 dropped", F, "corrected", "", without("r = 1")),
    Mutant("right side halved", F, "corrected", "", right_times(0.5)),
    Mutant("beta tau L_F <= 1/10 dropped", F, "corrected", "", without("<= 1/10")),
    Mutant(
        "no noise in the second drift",
        F,
        "corrected",
        "M-r1",
        None,
        (("theory.master.second_drift", lambda t, g, n: SECOND(t._replace(v2=Ball(0.0)), g, n)),),
    ),
    Mutant("r = 1 dropped", F, "corrected", "M-r1", without("r = 1")),
    Mutant("O(1) read as 1", F, "paper", "", closed),
    Mutant("parameters not looked at", C, "corrected", "all-users", without("tau = eps")),
    Mutant("r = 1 dropped", C, "corrected", "all-users", without("r = 1")),
    Mutant("eps for sqrt(eps)", C, "corrected", "some-users", sides(corollary._rate_sides(rate))),
    Mutant("right side halved", C, "paper", "", right_times(0.5)),
    Mutant("not instance I", C, "corrected", "rounds-necessary", without("instance I")),
    Mutant("eps need not be small", C, "corrected", "rounds-necessary", without("eps small")),
    Mutant("twice as many rounds necessary", C, "corrected", "rounds-necessary", left_times(2.0)),
    Mutant("half the rounds sufficient", C, "corrected", "rounds-sufficient", right_times(0.5)),
)
