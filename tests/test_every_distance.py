"""What every distance keeps. A new file in pfl_theory/distances with a function of its name is tested here too."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pfl_theory.distances as package
from pfl_theory import Measure
from pfl_theory.discovery import functions_named_as_files
from pfl_theory.errors import InputError

DISTANCES = {
    name: function
    for name, function in functions_named_as_files(package.__name__, package.__path__).items()
    if list(inspect.signature(function).parameters)[:2] == ["p", "q"]
}
every = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)
ROUNDING = 1e-12
seeds = st.integers(0, 2**32 - 1)


def ends(found) -> tuple[float, float]:
    """Certified ends, or the value for one that is exact."""
    return float(getattr(found, "lower", found)), float(getattr(found, "upper", found))


def drawn(seed: int, count: int = 3, dim: int = 2) -> list[Measure]:
    """Measures on a few common points, so that they share mass."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-3, 4, (6, dim)).astype(float)
    return [
        Measure(points[rng.integers(0, 6, m)], weights=rng.dirichlet(np.ones(m))) for m in rng.integers(1, 6, count)
    ]


def test_there_are_distances():
    assert {"total_variation", "wasserstein"} <= DISTANCES.keys()


@every
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_laws_of_a_metric(distance, seed):
    p, q, r = drawn(seed)
    (pq, qp, pr, rq) = (ends(distance(*pair)) for pair in ((p, q), (q, p), (p, r), (r, q)))
    for low, high in (pq, qp, pr, rq):
        assert 0 <= low <= high
        assert high - low <= ROUNDING * max(1.0, high)
    assert ends(distance(p, p)) == pytest.approx((0.0, 0.0), abs=ROUNDING)
    assert pq == pytest.approx(qp, abs=ROUNDING)
    assert pq[0] <= pr[1] + rq[1] + ROUNDING


@every
@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_a_measure_is_no_list_of_rows(distance, seed):
    """The order of rows, rows split in two and points without mass change nothing."""
    rng = np.random.default_rng(seed)
    p, q, _ = drawn(seed)
    order = rng.permutation(len(p.points))
    share = rng.uniform(0.2, 0.8, len(p.points))
    twice = np.concatenate([p.points, p.points])
    same = [
        Measure(p.points[order], weights=p.weights[order]),
        Measure(twice, weights=np.concatenate([share * p.weights, (1 - share) * p.weights])),
    ]
    for other in same:
        assert ends(distance(other, q)) == pytest.approx(ends(distance(p, q)), abs=ROUNDING)


@every
def test_measures_that_do_not_fit_are_one_line(distance):
    with pytest.raises(InputError, match="feature"):
        distance(Measure([[0.0, 1.0]]), Measure([0.0]))
    with pytest.raises(InputError):
        distance(Measure([0.0]), [0.0, 1.0])


@every
def test_said_what_it_is(distance):
    text = inspect.getdoc(distance) or ""
    assert "Parameters" in text
    assert ">>>" in text
