"""How often sampled results miss what they state, on laws whose true values are known.

Every case draws samples from a finite law and asks the package for its interval (or p-value) at its stated level; what
is counted is how often the truth lies outside. Three laws are skewed, one has a rare event that most samples do not
see.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import one_of, require
from ..seeds import generator

CHANCE = 1e-6  # that a result which keeps its level is called one that does not


class Law(NamedTuple):
    """A finite law on [0, 1]."""

    values: NDArray
    chances: NDArray

    @property
    def mean(self) -> float:
        """Its expectation."""
        return float(self.values @ self.chances)

    def draw(self, rng: np.random.Generator, size: Any) -> NDArray:
        """Independent values."""
        return np.asarray(rng.choice(self.values, size=size, p=self.chances))


def _law(values: Any, chances: Any) -> Law:
    v, p = np.asarray(values, dtype=float), np.asarray(chances, dtype=float)
    return Law(v / v.max(), p / p.sum())


LAWS = {
    "one in eight": _law([0.0, 1.0], [0.875, 0.125]),
    "exponential": _law(np.arange(1, 30), np.exp(-np.arange(1, 30) / 3.0)),
    "power": _law(np.arange(1, 60), np.arange(1, 60) ** -2.5),
    "rare": _law([0.01, 1.0], [0.998, 0.002]),
}


# -- cases: whether one sampled result is right ------------------------------------------------------------------------


def _bernstein(law: Law, rng: np.random.Generator, k: int) -> bool:
    from ..rigour.sampling import empirical_bernstein, summary

    found = summary(law.draw(rng, 60))
    return abs(found.mean - law.mean) <= empirical_bernstein(found, 1.0, 1e-2)


def _norm(law: Law, rng: np.random.Generator, k: int) -> bool:
    from ..rigour.sampling import norm_of_mean

    x = law.draw(rng, (60, 3)) - law.mean
    square = 3 * float((law.values - law.mean) ** 2 @ law.chances)
    return float(np.linalg.norm(x.mean(0))) <= norm_of_mean(60, np.sqrt(3.0), square, 1e-2)


@contextlib.contextmanager
def _runs_of(draw: Callable[[], float]) -> Iterator[None]:
    """Runs whose average squared gradient is drawn from a law, in place of the algorithm's."""
    from ..judging import sampled_runs

    def one(instance: Any, seed: int) -> tuple[float, float, float]:
        value = draw()
        return value, value, value

    kept, sampled_runs._one_run = sampled_runs._one_run, one  # type: ignore[assignment]
    try:
        yield
    finally:
        sampled_runs._one_run = kept


def _sampled_run(law: Law, rng: np.random.Generator, k: int) -> bool:
    from ..algorithms.baselines import FedAvg
    from ..judging.instance import Instance
    from ..judging.run_constants import largest_gradient
    from ..judging.sampled_runs import sampled_left_side
    from ..losses.piecewise import Curve
    from ..problems.problem import Problem

    curve = Curve([-2.0, -1.0, 1.0, 2.0], [0.0, 0.5, 0.5, 0.0], -2.0, -0.5)  # type: ignore[arg-type]  # |f'| <= 1
    problem = Problem.from_curves([curve])
    at = Instance(problem, 0.0, algorithm=FedAvg(beta=0.01), rounds=1, w0=np.zeros(1), runs=80)
    most = largest_gradient(at) ** 2  # what no run exceeds: the law's 1
    values = iter((most * law.draw(rng, 4096)).tolist())
    with _runs_of(lambda: next(values)):
        side = sampled_left_side(at)
    return side.lower <= most * law.mean <= side.upper


def _batch_instance(law: Law, k: int) -> Any:
    """Gradient noise of the law's shape; alpha names the stream, so every repetition has one of its own."""
    from ..algorithms.per_fedavg import PerFedAvg
    from ..judging.instance import Instance
    from ..losses.noise import FiniteNoise, Flat
    from ..losses.piecewise import Curve, Piecewise
    from ..problems.problem import Problem

    away = law.values - law.mean
    noise = FiniteNoise((away - law.chances @ away)[:, None], [Flat()], law.chances)
    curve = Curve([-4.0, -2.0, 0.0, 2.0, 4.0], [0.0, -1.0, 0.25, 1.0, 0.0], 0.0, 0.3)  # type: ignore[arg-type]
    alpha = 0.5 * (1 + k * 2.0**-40)
    algorithm = PerFedAvg(alpha, 0.1, batch_inner=1, batch_outer=1)
    return Instance(Problem.from_curves(Piecewise([curve], noise)), alpha, np.array([[0.5]]), algorithm=algorithm)


def _batches(which: str) -> Callable[[Law, np.random.Generator, int], bool]:
    def right(law: Law, rng: np.random.Generator, k: int) -> bool:
        from ..claims import get

        at, claim = _batch_instance(law, k + int(rng.integers(1, 1000)) * 10**6), get(f"lemma-4.3-{which}", "sharp")
        truth = claim.judge(at).lhs
        found = claim.judge(dataclasses.replace(at, runs=100)).lhs
        assert truth is not None
        assert found is not None
        return found.lower <= truth.upper and truth.lower <= found.upper

    return right


def _population(law: Law, rng: np.random.Generator, k: int) -> bool:
    from ..distances.noise import population_interval
    from ..federations.measure import Measure

    p, q = Measure(law.draw(rng, 60)), Measure(law.draw(rng, 40) + 0.25)
    found = population_interval(p, q, diameter=1.25, level=0.9, seed=k)
    return found.lower <= 0.25 <= found.upper  # a translation moves W1 by its length


def _floor(law: Law, rng: np.random.Generator, k: int) -> bool:
    """Users of one law: a p-value of at most 1/10 comes at most every tenth time."""
    from ..distances.noise import noise_floor
    from ..federations.federation import Federation

    fed = Federation.from_arrays([law.draw(rng, (8, 1)) for _ in range(3)], law="sample")
    return noise_floor(fed, m=8, permutations=9, seed=k).p_value > 0.1


def _debiased(rows: int) -> Callable[[Law, np.random.Generator, int], bool]:
    def right(law: Law, rng: np.random.Generator, k: int) -> bool:
        found, truth = _debiased_result(law, rng, rows)
        return bool(found.lower <= truth <= found.upper)

    return right


def _debiased_result(law: Law, rng: np.random.Generator, rows: int) -> tuple[Any, float]:
    """Five users whose laws are translations: gamma_G^2 at 0 of the quadratic loss is the variance of the means."""
    from ..federations.federation import Federation
    from ..losses.quadratic import Quadratic
    from ..problems.heterogeneity import debiased_gamma_G
    from ..problems.problem import Problem

    shifts = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    fed = Federation.from_arrays([law.draw(rng, (rows, 1)) + s for s in shifts], law="sample")
    return debiased_gamma_G(Problem(Quadratic(), fed), [0.0]), float(shifts.var())


class Case(NamedTuple):
    """A sampled result of the package, its stated level, one trial (whether it was right), and whether the level is
    proved for every law or, as the result itself says, asymptotic.
    """

    level: float
    right: Callable[[Law, np.random.Generator, int], bool]
    proved: bool = True


def cases() -> dict[str, Case]:
    """Every sampled result."""
    from ..rigour.sampling import LEVEL

    return {
        "rigour.sampling.empirical_bernstein": Case(0.99, _bernstein),
        "rigour.sampling.norm_of_mean": Case(0.99, _norm),
        "judging.sampled_runs": Case(LEVEL, _sampled_run),
        "lemma-4.3-bias, sampled": Case(LEVEL, _batches("bias")),
        "lemma-4.3-error, sampled": Case(LEVEL, _batches("error")),
        "distances.population_interval": Case(0.9, _population),
        "distances.noise_floor": Case(0.9, _floor),
        "problems.debiased_gamma_G, 10 rows": Case(0.95, _debiased(10), proved=False),
        "problems.debiased_gamma_G, 100 rows": Case(0.95, _debiased(100), proved=False),
    }


# -- how often ---------------------------------------------------------------------------------------------------------


def misses(case: str, law: str, repetitions: int, seed: int = 0) -> int:
    """How often, of so many times, a sampled result was wrong.

    Examples
    --------
    >>> misses("rigour.sampling.empirical_bernstein", "rare", 200) <= allowed(0.99, 200)
    True
    """
    known = cases()
    one_of("case", case, tuple(known))
    one_of("law", law, tuple(LAWS))
    require(repetitions >= 1, f"repetitions = {repetitions}; must be an integer >= 1")
    rng = generator(seed, "coverage", case, law)
    return sum(not known[case].right(LAWS[law], rng, k) for k in range(repetitions))


def allowed(level: float, repetitions: int) -> int:
    """Most misses that a result of this level has, but for one chance in a million."""
    from scipy.stats import binom

    return int(binom.isf(CHANCE, repetitions, 1 - level))


def bias_of_debiased(law: str, repetitions: int, seed: int = 0, *, rows: int = 10) -> tuple[float, float]:
    """Mean of the debiased estimate minus the truth, and the standard error of that mean."""
    rng = generator(seed, "debiased", law)
    found = [_debiased_result(LAWS[law], rng, rows) for _ in range(repetitions)]
    off = np.array([result.debiased - truth for result, truth in found])
    return float(off.mean()), float(off.std(ddof=1) / np.sqrt(repetitions))
