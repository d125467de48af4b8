"""What every claim must do, whichever files define claims."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from data_marks import marks_of

from pfl_theory import claims
from pfl_theory.claims import Interval
from pfl_theory.errors import InputError
from pfl_theory.seeds import generator

ALL = claims.all_claims()
IDS = [f"{c.name}-{c.version}-{c.form}" for c in ALL]
every = pytest.mark.parametrize("claim", ALL, ids=IDS)


@every
def test_witness_reaches_the_known_ratio(claim):
    verdict = claim.judge()
    assert verdict.outcome == claim.expected
    low, high = (
        verdict.lhs.lower / verdict.rhs.upper,
        verdict.lhs.upper / verdict.rhs.lower,
    )  # a left or right side may be known to an interval only
    assert low * (1 - 1e-9) <= claim.known_ratio <= high * (1 + 1e-9)
    assert verdict.ratio == pytest.approx(claim.known_ratio, rel=1e-4)
    if claim.expected == "VIOLATED":  # a transcribed statement that its witness refutes
        assert claim.version == "paper"
        assert claim.known_ratio > 1
    else:
        assert (verdict.outcome == "INCONCLUSIVE") == bool(
            claim.open_constant
        )  # a statement that names no constant never holds
        assert (
            claim.known_ratio >= 0.99 or not claim.tight
        )  # a witness worth the name; only a form that is not tight may be loose
        assert verdict.attained == (claim.known_ratio == 1.0)


@every
def test_control_is_violated(claim):
    assert claim.control().outcome == "VIOLATED"


@every
def test_random_instances_hold(claim):
    if claim.random_instance is None:
        assert claim.expected == "VIOLATED"
        with pytest.raises(InputError, match="refutes"):
            claims.judge_random(claim, 1)
        return
    rng = generator(0, "test", claim.name, claim.version, claim.form)
    for _ in range(100):  # the analysis `verdicts` judges more
        verdict = claim.judge(claim.random_instance(rng))
        assert verdict.outcome == ("INCONCLUSIVE" if claim.open_constant else "HOLDS"), verdict


SLOW = ("algorithm-3",)  # 80 runs of 300 rounds; test_theorem_4_5 has 40 of 40 judged by the same statements


@pytest.mark.parametrize(
    ("claim", "case"),
    [
        pytest.param(
            claim, case, id=f"{name}-{case.name}", marks=marks_of(case.needs) + [pytest.mark.slow] * (case.name in SLOW)
        )
        for claim, name in zip(ALL, IDS, strict=True)
        for case in claim.cases
    ],
)
def test_named_cases_come_out_as_expected(claim, case):
    verdict = claim.judge(case.make())
    assert verdict.outcome == case.expected, verdict
    assert verdict.reason.endswith(".")
    if case.ratio is not None:
        assert verdict.ratio == pytest.approx(case.ratio, rel=1e-6)
        assert claim.control(case).outcome == "VIOLATED"
    nothing = verdict.rhs is not None and (verdict.rhs.middle == 0 or (verdict.attained and verdict.rhs.lower == 0))
    assert math.isnan(verdict.ratio) == (verdict.outcome == "NOT_APPLICABLE" or nothing)


@every
def test_the_witness_survives_a_file(claim, tmp_path):
    """What can be written is judged the same elsewhere; what cannot says so in a line."""
    instance = claim.witness()
    try:
        path = instance.save(tmp_path / "witness.json")
    except InputError as error:
        assert "file cannot hold" in str(error)  # noqa: PT017 - some witnesses are closed forms or Python functions
        return
    again, first = claim.judge(claims.Instance.load(path)), claim.judge(instance)
    assert (again.outcome, again.ratio, again.scope) == (first.outcome, first.ratio, first.scope)


@every
def test_nan_raises(claim):
    instance = claim.witness()
    with pytest.raises(InputError):
        claims.Instance(instance.problem, math.nan)
    with pytest.raises(InputError, match="NaN"):
        claims.Instance(instance.problem, 0.5, np.full((2, instance.problem.dim), np.nan))
    with pytest.raises(InputError, match="empty"):
        claims.Instance(instance.problem, 0.5, np.empty((0, instance.problem.dim)))
    with pytest.raises(InputError, match="NaN"):
        Interval(math.nan, 1.0)


@every
def test_rows_have_the_columns_of_the_table(claim):
    claim = dataclasses.replace(claim, cases=claim.cases[:1])  # the others are judged above
    rows = claims.judged_rows(claim, random=3)
    for row in rows:
        assert set(claims.COLUMNS) - set(row) <= {"scale"}
        assert row["outcome"] == row["expected"], row
        assert row["command"].startswith(f"pfl-theory judge {claim.name} --version {claim.version}")
    assert sum(row["control"] != 1.0 for row in rows) == 1 + sum(case.ratio is not None for case in claim.cases)


def test_claims_are_distinct_and_found_by_name():
    assert len(set(IDS)) == len(IDS)
    for claim in ALL:
        assert claims.get(claim.name, claim.version, claim.form) is claim
    with pytest.raises(InputError, match="unknown"):
        claims.get("lemma-9")
    with pytest.raises(InputError, match="no version"):
        claims.get("lemma-4.2", version="corrected")
