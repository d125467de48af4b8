"""Steps, rounds and batches that reach an accuracy by Theorem 2, what they cost, or why none does.

The recipe of docs/theory/corollary-4-6.md#9-5-8-recipe with the constants of one's own problem from above, and the bias
paid first: 4.87 b^2 is what no number of rounds lowers. What is recommended is judged by the code of a report, in
outward arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from ..algorithms.algorithm import Algorithm, participants
from ..algorithms.baselines import FedAvg
from ..algorithms.per_fedavg import DEFAULT_DELTA, VARIANTS, PerFedAvg
from ..errors import one_of, require
from ..judging.instance import Instance
from ..judging.run_constants import assumption_terms, relative_error, sharp_reading
from ..judging.run_steps import steps_of
from ..problems.problem import Problem
from ..rigour.rounding import UNIT
from ..theory.master import CERTIFIED, Terms
from ..theory.rates import Recipe, recipe
from .bound import Bound, Road, bounds_of, instance_of, roads, unmet

USUAL_ALPHA = 0.2  # of 1/L
ROOM = 1 - 2.0**-30  # of epsilon: what rounding of the recipe may need
PARTS = tuple(5.0 ** (k / 16) for k in range(16, -1, -1))  # 1: five equal terms; 5: one term alone
MOST_ROUNDS = 10**15  # beyond this nobody runs anything
LEAST_LEFT = 1e-6  # of epsilon: what the bias must leave to the other terms


class Choice(NamedTuple):
    """One way to reach the accuracy, and its price.

    Attributes
    ----------
    inner, outer, hessian : int or None
        Batch sizes D, D', D''; None: all rows of a user. `outer` is FedAvg's only batch.
    beta, tau, rounds : float, int, int
    bias : float
        4.87 b^2, which no number of rounds lowers.
    gradients : float
        Gradients of single rows, Hessian-vector products counted as gradients, over all rounds and users.
    bytes_a_user : float
        Models sent and received by one user on average over all rounds, 8 bytes a number.
    """

    inner: int | None
    outer: int | None
    hessian: int | None
    beta: float
    tau: int
    rounds: int
    bias: float
    gradients: float
    bytes_a_user: float


@dataclass(frozen=True)
class Recommendation:
    """What reaches an accuracy, or why nothing does.

    Attributes
    ----------
    epsilon : float
    algorithm : Algorithm or None
        None where no choice is proved to reach epsilon.
    rounds : int or None
    bound : Bound or None
        Theorem 2 for that algorithm and these rounds: at most epsilon.
    alpha : float
        Inner step of F.
    choices : tuple of Choice
        All that reach epsilon, fewest gradients first: the first one is the recommended.
    reason : str
        What was chosen and why, or why no choice reaches epsilon.
    """

    epsilon: float
    algorithm: Algorithm | None
    rounds: int | None
    bound: Bound | None
    alpha: float
    choices: tuple[Choice, ...]
    reason: str

    @property
    def reached(self) -> bool:
        """Whether something is recommended."""
        return self.algorithm is not None

    def frame(self) -> Any:
        """One row a choice.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        return pd.DataFrame(self.choices, columns=list(Choice._fields))

    def __str__(self) -> str:
        from .text import recommendation_text

        return recommendation_text(self)

    def _repr_html_(self) -> str:
        from .html import recommendation_html

        return recommendation_html(self)


def recommend(
    problem: Problem,
    epsilon: float,
    *,
    alpha: float | None = None,
    participation: float | int = 1.0,
    variant: str = "exact",
    w0: ArrayLike | None = None,
    ball: tuple[float, ArrayLike | None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Recommendation:
    """Rounds, local steps, meta step and batch sizes for which Theorem 2 proves
    (1/(tau K)) sum E||grad F(wbar_{k+1,t})||^2 <= epsilon, and what they cost.

    Parameters
    ----------
    problem : Problem
    epsilon : float
        Wanted average squared gradient of F, > 0.
    alpha : float, optional
        Inner step; 0.2/L when absent.
    participation : float or int
        Share of users a round (r n an integer), or their number.
    variant : {"exact", "first-order", "hessian-free", "FedAvg"}
        FedAvg is measured on F too: its bias 2 alpha L B stays.
    w0, ball : optional
        First model (0 when absent); the ball on which the assumptions are read.
    tell : callable, optional
        Told what is computed next.

    Returns
    -------
    Recommendation

    Raises
    ------
    InputError
        epsilon <= 0, r n no integer, constants that are not known from above.

    Examples
    --------
    >>> import numpy as np, pfl_theory as pfl
    >>> x = np.random.default_rng(0).normal(size=(4, 30, 2))
    >>> problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(x, (x[..., 0] > 0).astype(int)))
    >>> found = recommend(problem, 0.05)
    >>> found.bound.value <= 0.05, found.algorithm.local_steps >= 1
    (True, True)
    >>> recommend(problem, 1e-4, variant="first-order").reached
    False
    """
    good = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool) and math.isfinite(epsilon)
    require(good and epsilon > 0, f"recommend: epsilon = {epsilon!r}; must be a finite number > 0")
    one_of("variant", variant, (*VARIANTS, "FedAvg"))
    m, n = participants(participation, problem.n_users), problem.n_users
    inner = usual_alpha(problem, ball) if alpha is None else float(alpha)

    def made(beta: float, tau: int, sizes: tuple[int | None, int | None, int | None], delta: float) -> Algorithm:
        if variant == "FedAvg":
            return FedAvg(beta, tau, participation, sizes[1])
        given = delta if variant == "hessian-free" else None
        return PerFedAvg(inner, beta, tau, participation, *sizes, variant=variant, delta=given)

    def at(algorithm: Algorithm, rounds: int = 1) -> Instance:
        return instance_of(problem, algorithm, alpha=inner, rounds=rounds, w0=w0, ball=ball)

    # the smallest steps there are: what fails for them fails for all. W1 on moving features depends on K and beta, and
    # is not used
    smallest = at(made(1e-300, 1, (None, None, None), DEFAULT_DELTA))
    failure = unmet(dataclasses.replace(smallest, gamma="trivial"))
    known = roads(smallest, w1="left out: it depends on the run", tell=tell).best if failure is None else None
    if known is None:
        return _none(epsilon, inner, f"no bound applies: {failure or 'gamma is not known for every w.'}")
    delta = DEFAULT_DELTA
    if variant == "hessian-free":
        delta = _difference_step(smallest, epsilon)
    if tell is not None:
        tell("choices of batches and steps")
    unit = dataclasses.replace(at(made(1.0, 1, (None, None, None), delta)), gamma=known.name)
    problem_terms = assumption_terms(unit, sharp_reading(unit))  # beta = tau = K = 1: Phi is F(w_0) - F*, x is L_F
    choices, floor = [], math.inf
    for sizes in _batches(problem, variant):
        base = at(made(1.0, 1, sizes, delta))
        found = _choice(base, problem_terms, epsilon, sizes, (n, m))
        floor = min(floor, found.bias)
        if found.rounds:
            choices.append(found)
    choices.sort(key=lambda choice: (choice.gradients, choice.rounds))
    if not choices:
        return _none(epsilon, inner, _why_not(smallest, epsilon, floor, variant))

    def by(choice: Choice) -> Algorithm:
        return made(choice.beta, choice.tau, choice[:3], delta)

    for choice in choices:
        proved = _proved(choice, known, epsilon, at, by)
        if proved is not None:
            best, algorithm, bound = proved
            rest = tuple(c for c in choices if c is not choice)
            return Recommendation(epsilon, algorithm, best.rounds, bound, inner, (best, *rest), _why(best, bound))
    failure = unmet(at(by(choices[0]), choices[0].rounds)) or "the terms add up to more than epsilon."
    return _none(epsilon, inner, f"no choice is proved to reach epsilon = {epsilon:g}: {failure}")


def usual_alpha(problem: Problem, ball: tuple[float, ArrayLike | None] | None = None) -> float:
    """0.2/L, or 0 where functions are straight."""
    radius, center = (None, None) if ball is None else ball
    found = problem.constants(radius=radius, center=center).get("L")
    require(
        found is not None and found.usable,
        f"alpha is not given, and L is not known from above ({'not stated' if found is None else found.reason}); give "
        "alpha=",
    )
    assert found is not None
    L = found.max()
    return USUAL_ALPHA / L if L > 0 else 0.0


def _none(epsilon: float, alpha: float, reason: str) -> Recommendation:
    return Recommendation(epsilon, None, None, None, alpha, (), reason)


def _batches(problem: Problem, variant: str) -> list[tuple[int | None, int | None, int | None]]:
    """Powers of two up to the rows of the smallest user, and all rows; D, and one size for D' and D''."""
    if problem.kind == "rows":
        least = int(problem.federation.sizes.min())
        sizes: list[int | None] = [2**k for k in range(least.bit_length()) if 2**k < least]
    else:
        noisy = getattr(problem.oracle, "noise", None) is not None or problem.kind == "curves"
        sizes = [2**k for k in range(11)] if noisy else []
    sizes.append(None)
    if variant == "FedAvg":
        return [(None, size, None) for size in sizes]
    return [(inner, outer, None if variant == "first-order" else outer) for inner in sizes for outer in sizes]


def _difference_step(smallest: Instance, epsilon: float) -> float:
    """A delta whose own bias is at most a hundredth of epsilon, and not above the usual one."""
    c = smallest.constants
    rho, B, sg = (c[name].max() for name in ("rho", "B", "sigma_G"))
    steep = smallest.alpha * rho * (B**2 + sg**2) / 2
    return (
        min(DEFAULT_DELTA, math.sqrt(epsilon / 100 / CERTIFIED[1.0, "ii"][5]) / steep) if steep > 0 else DEFAULT_DELTA
    )


def _choice(base: Instance, unit: Terms, epsilon: float, sizes: Any, users: tuple[int, int]) -> Choice:
    """The recipe for these batches; rounds 0 where the bias leaves nothing to the other terms."""
    at = dataclasses.replace(base, gamma="trivial")  # noise and bias do not depend on gamma
    reading, above = sharp_reading(at), 1 + relative_error(at)
    v2, b2 = reading.v2 * above, reading.b2 * above
    L_F, delta, gamma2 = (float(v.upper) for v in (unit.x, unit.Phi, unit.gamma2))
    bias = CERTIFIED[1.0, "ii"][5] * b2 * (1 + 8 * UNIT)
    left = (epsilon - bias) * ROOM
    none = Choice(sizes[0], sizes[1], sizes[2], 0.0, 0, 0, bias, math.inf, math.inf)
    if left <= LEAST_LEFT * epsilon:
        return none
    n, m = users
    L_F, p = max(L_F, 2.0**-500), float(unit.p.upper)
    for part in PARTS:  # a fifth each, and where that leaves room, more of each
        found = recipe(left * part, n=n, m=m, delta=delta, L_F=L_F, gamma2=gamma2, v2=v2)
        if found.rounds > MOST_ROUNDS:
            return none
        beta = found.s / (found.tau * L_F)
        if _linear(found, beta * L_F, delta / (beta * found.tau * found.rounds), gamma2, v2, p, m) <= left:
            break
    beta *= 1 - 16 * UNIT
    return _priced(none._replace(beta=beta, tau=found.tau, rounds=found.rounds), at, m)


def _linear(found: Recipe, x: float, phi: float, gamma2: float, v2: float, p: float, m: int) -> float:
    """The five terms beside the bias, in floats: what is chosen is proved by a report's own bound."""
    c0, c1, c2v, c2g, c3, _ = CERTIFIED[1.0, "ii"]
    tau = found.tau
    noise = c1 * x / m * v2 + c2v * x**2 * (tau - 1) * v2
    return c0 * phi + noise + c2g * x**2 * tau * (tau - 1) * gamma2 + c3 * x * tau * p * gamma2


def _priced(choice: Choice, at: Instance, m: int) -> Choice:
    problem, algorithm = at.problem, at.algorithm
    rows = float(problem.federation.sizes.mean()) if problem.kind == "rows" else 1.0
    inner, outer, hessian = (rows if size is None else float(size) for size in choice[:3])
    variant = getattr(algorithm, "variant", "FedAvg")
    a_step = {
        "exact": inner + outer + hessian,
        "first-order": inner + outer,
        "hessian-free": inner + outer + 2 * hessian,
        "FedAvg": outer,
    }[variant]
    sent = 2 * 8 * problem.dim * float(choice.rounds) * m / problem.n_users
    return choice._replace(gradients=float(choice.rounds) * m * choice.tau * a_step, bytes_a_user=sent)


def _proved(
    choice: Choice, road: Road, epsilon: float, at: Callable[..., Instance], made: Callable[[Choice], Algorithm]
) -> tuple[Choice, Algorithm, Bound] | None:
    """The choice, with as many more rounds as rounding asks for, if the report's own bound is at most epsilon."""
    for _ in range(60):
        algorithm = made(choice)
        instance = dataclasses.replace(at(algorithm, choice.rounds), gamma=road.name)
        if unmet(instance) is not None:
            return None
        bound = bounds_of(instance)[0]
        if bound.value <= epsilon:
            return _priced(choice, instance, steps_of(instance).m), algorithm, bound
        more = max(choice.rounds + 1, math.ceil(choice.rounds * 1.001))
        choice = choice._replace(rounds=more)
    return None


def _why(choice: Choice, bound: Bound) -> str:
    from .tables import number

    batches = "exact gradients" if choice.outer is None else f"batches of {choice.outer}"
    proved = f"Theorem 2 proves at most {number(bound.value, 'upper')} with {batches}"
    return f"{proved}; of the choices that reach it this one takes the fewest gradients"


def _why_not(at: Instance, epsilon: float, floor: float, variant: str) -> str:
    if not floor < epsilon:
        told = f"no choice reaches epsilon = {epsilon:g}: the bias alone is bounded by 4.87 b^2 = {floor:.4g}"
        c = at.constants
        slope = c["L"].max() * c["B"].max() * (2 if variant == "FedAvg" else 1)
        if variant in ("first-order", "FedAvg") and slope > 0:
            largest = math.sqrt(epsilon / CERTIFIED[1.0, "ii"][5]) / slope
            times = "2 alpha L B" if variant == "FedAvg" else "alpha L B"
            told += f", b = {times}, whatever K, tau, beta and batches are; take alpha below {largest:.3g}, or 'exact'"
        return told
    return f"no choice reaches epsilon = {epsilon:g} within {MOST_ROUNDS:.0e} rounds"
