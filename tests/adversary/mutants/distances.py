"""Statements about distances between users' data, broken."""

from __future__ import annotations

import dataclasses

from pfl_theory.claims import gamma_chain, tv_gradient, tv_hessian, w1_hessian
from pfl_theory.judging import on_data

from . import Mutant, first_pair, right_times, sides, too_sure, without


def everything(vectors, some, others):
    """The diameter of all gradients, whoever has more of which."""
    every = list(range(len(vectors)))
    return on_data.diameter(vectors, every, every)


def halfway(problem):
    """Every user halfway to the average."""
    found = on_data.on_points(problem)
    return dataclasses.replace(found, mass=(found.mass + found.mass.mean(0)) / 2)


MUTANTS = (
    Mutant("B^2 for 4 B^2", "tv-gradient", "paper", "", right_times(0.25)),
    Mutant("first point for the worst", "tv-gradient", "paper", "", first_pair),
    Mutant("B_datum not looked at", "tv-gradient", "paper", "", without("B_datum")),
    Mutant(
        "diameter of all gradients", "tv-gradient", "sharp", "", None, (("claims.tv_gradient.diameter", everything),)
    ),
    Mutant("half of every distance", "tv-gradient", "sharp", "", None, (("claims.tv_gradient.on_points", halfway),)),
    Mutant("the ball dropped", "tv-gradient", "sharp", "", without("ball")),
    Mutant("L^2 for 4 L^2", "tv-hessian", "paper", "", sides(tv_hessian.convex_sides)),
    Mutant("half of every distance", "tv-hessian", "sharp", "", None, (("claims.tv_hessian.on_points", halfway),)),
    Mutant("convex dropped", "tv-hessian", "sharp", "convex", without("the loss is convex")),
    Mutant("4 L^2 kept", "tv-hessian", "sharp", "convex", sides(tv_hessian.paper_sides)),
    Mutant("B^2 left out of the minimum", "gamma-chain", "paper", "", sides(tv_gradient.paper_sides)),
    Mutant(
        "radius for its square",
        "gamma-chain",
        "sharp",
        "",
        None,
        (("claims.gamma_chain.enclosing_radius", lambda g: gamma_chain.enclosing_radius(g) ** 0.5),),
    ),
    Mutant("right side a tenth less", "gamma-chain", "sharp", "", right_times(0.9)),
    Mutant("L_Z for L_Z^2", "w1-gradient", "paper", "", right_times(0.5)),
    Mutant("right side a hundredth more", "w1-gradient", "sharp", "", right_times(1.01)),
    Mutant("rounding forgotten", "w1-gradient", "sharp", "", too_sure()),
    Mutant("labels left out of W1", "w1-hessian", "paper", "", sides(w1_hessian.sharp_sides)),
    Mutant("right side a millionth less", "w1-hessian", "sharp", "", right_times(1 - 1e-6)),
    Mutant("first point for the worst", "w1-hessian", "sharp", "", first_pair),
)
