"""Statements broken on purpose: the attack catches each of them."""

from __future__ import annotations

import pytest

from adversary.mutants import all_mutants, caught

MUTANTS = all_mutants()
NOT_CAUGHT: dict[str, str] = {}  # name -> why the attack cannot tell it from the statement


def test_there_are_enough_and_each_has_a_name():
    assert len(MUTANTS) >= 40
    assert len({str(m) for m in MUTANTS}) == len(MUTANTS)
    assert set(NOT_CAUGHT) <= {str(m) for m in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS[::12], ids=str)
def test_some_are_caught_at_once(mutant):
    assert caught(mutant, most=300, seconds=30.0) is not None


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_all_are_caught(mutant):
    found = caught(mutant, most=600, seconds=60.0)
    assert (found is None) == (str(mutant) in NOT_CAUGHT), f"{mutant}: {found}"
