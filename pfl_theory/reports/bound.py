"""What the corrected theorem bounds for one problem and one algorithm: hypotheses, roads to gamma, terms.

Every number comes from where claims take it: the hypotheses of theorem-4.5 (corrected, theorem-2), the constants of
`judging.run_constants`, the formulas of `theory.master`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..algorithms.algorithm import Algorithm
from ..errors import InputError, require
from ..judging.claim import beyond_floats
from ..judging.instance import GAMMAS, Instance
from ..judging.run_constants import assumption_terms, sharp_reading, trivial_bound
from ..judging.run_steps import steps_of
from ..judging.spread_of_users import road_is_open, spread_of_users
from ..problems.problem import Problem
from ..rigour.balls import Ball
from ..rigour.rounding import UNIT
from ..theory.master import CERTIFIED, MOST_S, Terms, full_participation, linear, linear_terms

USUAL_ROUNDS = 1000  # K where nobody names one: only Phi depends on it
MOST_MASSES = 2**26  # users times rows: masses of all users on all points, 0.5 GB


class Road(NamedTuple):
    """One way to know how far users' gradients and Hessians are apart, for every w that the run can meet."""

    name: str
    gamma_G: float  # noqa: N815 - the paper's symbols
    gamma_H: float  # noqa: N815
    gamma_F: float  # noqa: N815
    how: str


class Term(NamedTuple):
    """One term of a bound, from above; `words`: what it is; `lower`: what makes it smaller."""

    symbol: str
    value: float
    words: str
    lower: str


@dataclass(frozen=True)
class Bound:
    """A bound of the average of E||grad F||^2 over rounds and local steps.

    Attributes
    ----------
    name : str
        Theorem 2 or Proposition 3, with its formula.
    terms : tuple of Term
    value : float
        Upper end of their sum.
    trivial : float
        What bounds the same average before any theorem.
    rounds : int
        K in Phi.
    start_times_rounds : float
        The first term times K: it falls like 1/K, the others do not depend on K.
    """

    name: str
    terms: tuple[Term, ...]
    value: float
    trivial: float
    rounds: int
    start_times_rounds: float

    @property
    def vacuous(self) -> bool:
        """Whether it says no more than what is known without any theorem."""
        return self.value > self.trivial

    @property
    def dominating(self) -> Term:
        """The largest term."""
        return max(self.terms, key=lambda term: term.value)


class Admissible(NamedTuple):
    """The largest steps that the theorem allows, rounded down, and whether these are within; None where L_F is not
    known.
    """

    alpha: float
    alpha_within: bool
    beta: float | None
    beta_within: bool | None
    smoothness: float | None  # L_F


def instance_of(
    problem: Problem,
    algorithm: Algorithm,
    *,
    alpha: float | None = None,
    rounds: int = USUAL_ROUNDS,
    w0: object = None,
    ball: tuple[float, object] | None = None,
) -> Instance:
    """The run as claims see it. `runs` says that a left side could be had; none is run here."""
    inner = float(getattr(algorithm, "alpha", 0.0)) if alpha is None else float(alpha)
    name = problem.federation.name if problem.kind == "rows" else problem.kind
    return Instance(problem, inner, None, name, algorithm, ball, rounds, w0, runs=2)  # type: ignore[arg-type]


def unmet(instance: Instance) -> str | None:
    """The first hypothesis of the theorem that fails, and by how much; None where all hold."""
    from ..claims import get

    try:
        with np.errstate(all="ignore"):
            for hypothesis in get("theorem-4.5", "corrected", "theorem-2").hypotheses:
                failure = hypothesis.check(instance)
                if failure is not None:
                    return failure
            return beyond_floats(instance)
    except ArithmeticError:
        return beyond_floats(instance) or "the constants overflow: measure data and points in another unit."
    except InputError as error:
        return f"{error}."


def admissible(instance: Instance) -> Admissible | None:
    """Steps that the theorem allows: alpha <= 1/L, beta tau L_F <= 1/10; None where L has no bound."""
    c = instance.constants
    if "L" not in c or not c["L"].usable:
        return None
    down = 1 - 4 * UNIT
    L = c["L"].max()
    alpha = down / L if L > 0 else math.inf
    within = instance.alpha * L <= 1 + 8 * UNIT
    if any(name not in c or not c[name].usable for name in ("B", "rho", "sigma_G", "sigma_H")):
        return Admissible(alpha, within, None, None, None)
    L_F = sharp_reading(dataclasses.replace(instance, gamma="trivial")).L_F
    steps = steps_of(instance)
    beta = MOST_S / (steps.tau * L_F) * down if L_F > 0 else math.inf
    return Admissible(alpha, within, beta, steps.beta <= beta * (1 + 2.0**-40), L_F)


def roads(instance: Instance, *, w1: str | None = None, tell: Callable[[str], None] | None = None) -> Roads:
    """Every open road to gamma, and why the others are closed.

    Parameters
    ----------
    w1 : str, optional
        Why W1 is not measured; it is where this is absent.
    """
    found: list[Road] = []
    closed: dict[str, str] = {}
    for name in GAMMAS:
        at = dataclasses.replace(instance, gamma=name)
        shut = _not_tried(at, w1)
        if shut is None:
            if tell is not None and name in ("tv", "w1"):
                tell(f"how far users are apart, by {WORDS[name]}")
            shut = road_is_open(at)
        if shut is not None:
            closed[name] = shut.removeprefix(f"gamma = {name!r}: ")
            continue
        spread = spread_of_users(at)
        found.append(Road(name, spread.gamma_G, spread.gamma_H, math.sqrt(sharp_reading(at).gamma2), spread.how))
    return Roads(tuple(found), closed)


WORDS = {"known": "what the functions tell", "tv": "total variation", "w1": "W1", "trivial": "sizes of gradients alone"}


class Roads(NamedTuple):
    """The open roads, and why the others are closed."""

    open: tuple[Road, ...]
    closed: dict[str, str]

    @property
    def best(self) -> Road | None:
        """The road with the smallest gamma_F."""
        return min(self.open, key=lambda road: road.gamma_F, default=None)


def _not_tried(at: Instance, w1: str | None) -> str | None:
    if at.gamma == "w1" and w1 is not None:
        return w1
    if at.gamma == "tv" and at.problem.kind == "rows":
        fed = at.problem.federation
        if fed.n_users * len(fed.x) > MOST_MASSES:
            return f"left out: {fed.n_users} users on {len(fed.x)} points are too many masses to hold"
    return None


def bounds_of(instance: Instance) -> tuple[Bound, ...]:
    """Theorem 2, and Proposition 3 where all users take part; gamma by the road that the instance names. The caller has
    checked the hypotheses.
    """
    terms = assumption_terms(instance, sharp_reading(instance))
    trivial = trivial_bound(instance)
    assert instance.rounds is not None
    found = [_bound("Theorem 2", _theorem_2(terms), _sum(terms), trivial, instance.rounds)]
    steps = steps_of(instance)
    if steps.m == steps.n:
        found.append(
            _bound("Proposition 3", _proposition_3(terms), full_participation(terms), trivial, instance.rounds)
        )
    return tuple(found)


def _bound(name: str, terms: tuple[Term, ...], value: Ball, trivial: float, rounds: int) -> Bound:
    upper = float(value.upper)
    require(not math.isnan(upper), f"{name}: a term is NaN")
    return Bound(name, terms, upper, trivial, rounds, terms[0].value * rounds)


CONSTANTS = tuple(Ball.relative(c, UNIT) for c in CERTIFIED[1.0, "ii"])


def _sum(terms: Terms) -> Ball:
    """As the claim has it."""
    return linear(terms, CONSTANTS)


START = "what is left of the start, F(w_0) - F*, after K rounds"
FEWER_ROUNDS = "more rounds K, larger beta tau, a start closer to a minimum"
NOISE = "noise of the batches, averaged over the users of a round"
DRIFT_OF_NOISE = "noise of the batches carried on by later local steps"
APART = "users moving apart in a round, as their functions differ"
ABSENT = "users that stay away in a round"
BIAS = "bias: what the direction misses of grad F on average"


def _theorem_2(terms: Terms) -> tuple[Term, ...]:
    """The six terms."""
    values = [float(term.upper) for term in linear_terms(terms, CONSTANTS)]
    c0, c1, c2v, c2g, c3, c4 = (f"{c:.2f}" for c in CERTIFIED[1.0, "ii"])
    told = (
        (f"{c0} Phi", START, FEWER_ROUNDS),
        (f"{c1} x v^2/m", NOISE, "larger batches, smaller beta, more users a round"),
        (f"{c2v} x^2 (tau-1) v^2", DRIFT_OF_NOISE, "larger batches, fewer local steps, smaller beta"),
        (f"{c2g} x^2 tau (tau-1) gamma_F^2", APART, "smaller beta, fewer local steps, users more alike"),
        (f"{c3} tau x p gamma_F^2", ABSENT, "more users a round (none at r = 1), smaller beta tau, users more alike"),
        (f"{c4} b^2", BIAS, "a larger inner batch D, smaller alpha, the exact variant for FO or FedAvg"),
    )
    return tuple(Term(symbol, value, *words) for (symbol, *words), value in zip(told, values, strict=True))


def _proposition_3(terms: Terms) -> tuple[Term, ...]:
    """The four terms at r = 1, each by the same formula with the numbers of the others 0."""
    zero = Ball(0.0)
    nothing = terms._replace(Phi=zero, gamma2=zero, v2=zero, b2=zero)
    told = (
        ("2 Phi", "Phi", START, FEWER_ROUNDS),
        ("x v^2", "v2", "noise of the batches", "larger batches, smaller beta"),
        ("x^2 tau (tau-1) gamma_F^2", "gamma2", APART, "smaller beta, fewer local steps, users more alike"),
        ("1.961 b^2", "b2", BIAS, "a larger inner batch D, smaller alpha, the exact variant for FO or FedAvg"),
    )
    return tuple(
        Term(symbol, float(full_participation(nothing._replace(**{name: getattr(terms, name)})).upper), words, lower)
        for symbol, name, words, lower in told
    )
