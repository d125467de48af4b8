"""Sampled results keep the level that they state, on laws whose true values are known."""

from __future__ import annotations

import numpy as np
import pytest

from pfl_theory.adversary import coverage

CHEAP = ("rigour.sampling.empirical_bernstein", "rigour.sampling.norm_of_mean")
EVERY = pytest.mark.parametrize("case", [name for name, case in coverage.cases().items() if case.proved])
ASYMPTOTIC = pytest.mark.parametrize("case", [name for name, case in coverage.cases().items() if not case.proved])
LAWS = pytest.mark.parametrize("law", coverage.LAWS)


def kept(case, law, repetitions):
    level = coverage.cases()[case].level
    missed, most = coverage.misses(case, law, repetitions), coverage.allowed(level, repetitions)
    assert missed <= most, f"{missed} of {repetitions} miss the truth; at level {level:.6g} at most {most} would"


def test_laws_are_what_they_say():
    """Three skewed laws and a rare event on [0, 1]."""
    for name, law in coverage.LAWS.items():
        assert law.chances.sum() == pytest.approx(1.0)
        assert law.values.max() == 1.0
        skew = ((law.values - law.mean) ** 3 @ law.chances) / ((law.values - law.mean) ** 2 @ law.chances) ** 1.5
        assert skew > 1, name
    assert coverage.LAWS["rare"].chances.min() < 0.01


def test_the_harness_can_fail(monkeypatch):
    """The normal interval on a rare event: most samples do not see it."""

    def normal(law, rng, k):
        x = law.draw(rng, 50)
        return abs(x.mean() - law.mean) <= 1.96 * x.std(ddof=1) / np.sqrt(50)

    monkeypatch.setattr(coverage, "cases", lambda: {"normal": coverage.Case(0.95, normal)})
    assert coverage.misses("normal", "rare", 200) > coverage.allowed(0.95, 200)


@pytest.mark.parametrize("case", CHEAP)
@LAWS
def test_cheap_ones_in_short(case, law):
    kept(case, law, 500)


@pytest.mark.slow
@pytest.mark.parametrize("case", CHEAP)
@LAWS
def test_cheap_ones_a_hundred_thousand_times(case, law):
    kept(case, law, 100_000)


@pytest.mark.slow
@EVERY
@LAWS
def test_every_sampled_result_keeps_its_level(case, law):
    kept(case, law, 1000)


@LAWS
def test_the_debiased_estimate_is_unbiased(law):
    off, error = coverage.bias_of_debiased(law, 300)
    assert abs(off) <= 5 * error


@pytest.mark.slow
@ASYMPTOTIC
@LAWS
def test_an_asymptotic_level_says_so_and_holds_for_laws_without_rare_events(case, law):
    """At 100 rows it holds for laws that these show; at 10 rows, and for rare events, nothing is promised."""
    found, _ = coverage._debiased_result(coverage.LAWS[law], np.random.default_rng(0), 10)
    assert "covers less than its level on rare events and few rows" in found.interval
    if case.endswith("100 rows") and law != "rare":
        kept(case, law, 1000)
