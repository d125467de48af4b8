"""FedFomo, and FedAvg as meta-learning, broken."""

from __future__ import annotations

from pfl_theory.algorithms import fedfomo
from pfl_theory.claims import fedavg_bridge as bridge
from pfl_theory.claims import fedavg_decomposition as parts
from pfl_theory.claims import fedfomo_descent as descent
from pfl_theory.judging import on_candidates
from pfl_theory.judging.on_local_runs import steps_of

from . import Mutant, first_pair, left_times, right_times, sides, without


def _not_normalised(l0, losses, dists, power=1, eps=0.0):
    return fedfomo.unnormalised(l0, losses, dists, power, eps)


def _spread_of_distances(one, instance):
    """sum w D^2 for V."""
    squares, _ = descent._squares(one)
    return one.loss_at() - one.mean_loss, on_candidates.curved(one.user.below, squares)


def _one_fewer(instance, run, j):
    return parts.bounded(instance, run, j - 1)


def _no_third(instance, run, j):
    a, _ = steps_of(instance)
    x = parts.constant(instance, "L") * a
    return x * x * parts.powers(x, j - 1, 2) * parts.norm(run.gradients[0])


def _wide(step):
    """Another inner step."""
    return lambda instance, *, bridged: parts.Ball(steps_of(instance)[0]) * (steps_of(instance)[1] - 1) * step


MUTANTS = (
    Mutant(
        "weights not normalised",
        "fedfomo-simplex",
        "sharp",
        patches=(("claims.fedfomo_simplex.weights", _not_normalised),),
    ),
    Mutant("the nearest distance for their mean", "fedfomo-simplex", "sharp", "step", right_times(0.7)),
    Mutant("eps of another formula", "fedfomo-simplex", "sharp", "eps", without("eps > 0, l2 norm")),
    Mutant("l1 weights taken", "fedfomo-simplex", "sharp", "unchanged", without("weights by the l2 norm")),
    Mutant("a quarter for a half", "fedfomo-descent", "sharp", "", right_times(0.5)),
    Mutant("distances for the spread", "fedfomo-descent", "sharp", "", sides(descent._sides(_spread_of_distances))),
    Mutant("first pair for the worst", "fedfomo-descent", "sharp", "", first_pair),
    Mutant("below for above", "fedfomo-descent", "sharp", "lower", sides(descent._sides(descent.upper))),
    Mutant("t beyond 1", "fedfomo-descent", "sharp", "damped", without("0 <= t <= 1")),
    Mutant("t left out", "fedfomo-descent", "sharp", "damped", sides(descent._sides(descent.upper))),
    Mutant("not convex", "fedfomo-descent", "sharp", "convex", without("every f_i convex")),
    Mutant("any weights", "fedfomo-descent", "sharp", "convex", without("weights by the l2 norm")),
    Mutant("the whole decrease", "fedfomo-descent", "sharp", "convex", left_times(2.0)),
    Mutant("half of L D / 2", "fedfomo-first-order", "sharp", "gradient", right_times(0.5)),
    Mutant("not convex", "fedfomo-first-order", "sharp", "convex", without("every f_i convex")),
    Mutant(
        "half the radius",
        "fedfomo-first-order",
        "sharp",
        "",
        patches=(("claims.fedfomo_first_order.squared_radius", lambda p: on_candidates.squared_radius(p) * 0.25),),
    ),
    Mutant("j counted from 0", "fedavg-decomposition", "sharp", "bounded", sides(parts._each(_one_fewer))),
    Mutant("third derivative left out", "fedavg-decomposition", "sharp", "growing", sides(parts._each(_no_third))),
    Mutant("out of the ball", "fedavg-decomposition", "sharp", "sum", without("local steps stay in the ball")),
    Mutant(
        "one step fewer",
        "fedavg-decomposition",
        "sharp",
        "",
        patches=(("claims.fedavg_decomposition.fomaml", lambda run, a, j: run.gradients[max(j - 1, 0)]),),
    ),
    Mutant("any server", "fedavg-is-reptile", "sharp", "", without("FedAvg or Reptile")),
    Mutant("any server step", "fedavg-is-reptile", "sharp", "bits", without("server step 1")),
    Mutant("a (K - 1)/2", "fedavg-bridge", "sharp", "", patches=(("claims.fedavg_bridge.inner_step", _wide(0.5)),)),
    Mutant("any inner step", "fedavg-bridge", "sharp", "quadratic", without("alpha = a (K - 1)/4")),
    Mutant("not quadratic", "fedavg-bridge", "sharp", "quadratic", without("rho = 0")),
    Mutant("first order left out", "fedavg-bridge", "sharp", "any-step", sides(bridge._sides(""))),
)
