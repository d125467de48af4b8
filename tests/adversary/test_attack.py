"""The attack itself: seeded, reproducible, able to fail; a smoke of it here, a minute among the slow tests."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from pfl_theory import claims
from pfl_theory.adversary import attack, claims_of, generators, instance, invariances, loop, referees
from pfl_theory.adversary.compare import disagreements
from pfl_theory.adversary.real import mp, real
from pfl_theory.adversary.ruling import Pair, Ruling, refused, unsettled
from pfl_theory.claims import Instance, Interval, Verdict
from pfl_theory.cli import main
from pfl_theory.errors import InputError
from pfl_theory.seeds import generator


def test_smoke():
    report = attack(["all"], 30.0, seed=5, most=2)
    assert set(report.tallies) == {(c.name, c.version, c.form) for c in claims.all_claims()}
    assert [str(f) for f in report.failures] == []


@pytest.mark.slow
def test_a_minute_of_attack():
    report = attack(["all"], 60.0, seed=0)
    assert [str(f) for f in report.failures] == []
    assert report.judged > 1000
    for key, tally in report.tallies.items():
        assert tally.compared > 0, key  # of every form both sides were found again in 50 digits


@pytest.mark.parametrize("kind", generators.names())
def test_generators_are_seeded_and_draw_what_exists(kind, tmp_path):
    """The same numbers for the same seed; an instance either exists or is refused in one line."""
    made = 0
    for k in range(12):
        try:
            a, b = (generators.draw(kind, generator(k, "test", kind)) for _ in range(2))
        except InputError:
            continue
        made += 1
        assert a.alpha == b.alpha
        assert a.algorithm == b.algorithm
        for one, other in ((a.points, b.points), (a.w0, b.w0)):
            assert (one is None) == (other is None)
            assert one is None or np.array_equal(one, other)
        if kind not in ("functions", "hessians"):
            again = Instance.load(a.save(tmp_path / "instance.json"))
            assert again.alpha == a.alpha
    assert made


def test_generators_leave_the_claims_draws_alone():
    """Nothing of a claim's random instances is reachable from the generators' sources."""
    for kind in generators.names():
        with open(sys.modules[generators.__name__].__path__[0] + f"/{kind}.py", encoding="utf-8") as source:
            assert not re.search("random_|instances_on_data|instances_with_batches|instance_one", source.read())


def test_the_sequence_depends_on_seed_and_number_alone():
    a, b = attack(["lemma-4.4"], 60.0, 3, most=6), attack(["lemma-4.4"], 60.0, 3, most=6)
    assert [t.outcomes for t in a.tallies.values()] == [t.outcomes for t in b.tallies.values()]
    one, other = instance("lemma-4.4", 3, 4), instance("lemma-4.4", 4, 4)
    assert one.alpha != other.alpha or not np.array_equal(one.points, other.points)


# -- what counts as a failure ------------------------------------------------------------------------------------------


def verdict(outcome, lhs=None, rhs=None, reason="left side at most 1, right side at least 2.", **more):
    sides = {"lhs": lhs and Interval(*lhs), "rhs": rhs and Interval(*rhs)}
    return Verdict("lemma-4.4", "sharp", "", "test", outcome, reason, **sides, **more)


HELD = verdict("HOLDS", (0.9, 1.0), (2.0, 2.1))


@pytest.mark.parametrize(
    ("said", "ruling", "line"),
    [
        (HELD, Ruling(True, pairs=[Pair(real(0.95), real(2.05))]), None),
        (HELD, Ruling(True, pairs=[Pair(real(3), real(2.05))]), "false HOLDS"),
        (HELD, Ruling(True, pairs=[Pair(real(0.95), real(2.2))]), "ends exclude the truth"),
        (HELD, Ruling(True, pairs=[Pair(real(0.8), real(2.05))]), "ends exclude the truth"),
        (HELD, Ruling(True, pairs=[Pair(real(0.95), real(2.05)), Pair(real(1), real(1.1))]), "not the worst pair"),
        (HELD, Ruling(True, pairs=[Pair(real(0.95), real(2.05))], open_constant=True), "leaves a constant open"),
        (HELD, refused("alpha > 1/L"), "a hypothesis fails"),
        (HELD, unsettled("no formula"), None),
        (verdict("NOT_APPLICABLE"), refused("alpha > 1/L"), None),
        (verdict("NOT_APPLICABLE"), Ruling(None), None),
        (verdict("NOT_APPLICABLE"), Ruling(True), "every hypothesis holds"),
        (verdict("INCONCLUSIVE", (0.9, 1.0), (0.95, 1.1)), Ruling(True, pairs=[Pair(real(0.95), real(1))]), None),
        (verdict("INCONCLUSIVE", reason="L = 1e-50 is beyond what floats can judge"), refused("alpha"), None),
        (verdict("INCONCLUSIVE", (0.9, 1.0), (0.95, 1.1)), refused("alpha > 1/L"), "a hypothesis fails"),
        (
            verdict("VIOLATED", (3.0, 3.1), (2.0, 2.1)),
            Ruling(True, pairs=[Pair(real(1), real(2.05))]),
            "false VIOLATED",
        ),
        (verdict("HOLDS", (0.9, 1.0), (2.0, 2.1), "it is so."), Ruling(True), "does not say how far"),
        (verdict("HOLDS", (0.9, 1.1), (1.0, 1.2), "attained."), Ruling(True), "known to 0.2 only"),
    ],
)
def test_what_counts_as_a_failure(said, ruling, line):
    found = disagreements(said, ruling)
    assert (found == []) if line is None else any(line in f for f in found)


def test_equal_sides_hold():
    assert Pair(real(1) / 3, (1 - real(2) / 3)).holds
    assert not Pair(real(1) + mp.mpf(10) ** -30, real(1)).holds


def test_exceptions_are_failures_and_refusals_of_what_exists_are(monkeypatch):
    def broken(at):
        raise ZeroDivisionError("float division by zero")

    def refuses(at):
        raise InputError("not today")

    claim = claims.get("first-order-bias", "sharp")
    for sides, word in ((broken, "ZeroDivisionError"), (refuses, "not today")):
        monkeypatch.setattr(loop, "forms", lambda name, sides=sides: [dataclasses.replace(claim, sides=sides)])
        report = attack(["first-order-bias"], 60.0, most=1)
        assert word in report.failures[0].what
        assert next(iter(report.tallies.values())).outcomes["refused"] == 1


# -- invariances -------------------------------------------------------------------------------------------------------


def test_every_change_is_used():
    report = attack(["lemma-4.2", "tv-gradient"], 60.0, seed=1, most=60)
    for name, *_ in invariances.CHANGES:
        assert report.invariances[name] > 0, name


def test_a_statement_that_reads_the_order_of_users_is_caught(monkeypatch):
    """Broken by the name of the first user's own curvature."""
    claim = claims.get("first-order-bias", "sharp")

    def first_only(at):
        found = claim.sides(at)
        first = at.problem.family.curves[0]
        factor = 1.0 if first.curvature >= at.problem.constants()["L"].max() else 0.0
        return dataclasses.replace(found, rhs=found.rhs.times(factor))

    monkeypatch.setattr(loop, "forms", lambda name: [dataclasses.replace(claim, sides=first_only)])
    monkeypatch.setattr(loop, "CHANGED", 1.0)
    report = attack(["first-order-bias"], 60.0, most=60)
    assert any("after users permuted" in f.what for f in report.failures)


# -- the command -------------------------------------------------------------------------------------------------------


def command(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["attack", *words])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_the_command_prints_a_table_and_exits_with_0(capsys):
    code, out, _ = command(capsys, "first-order-bias", "--seconds", "0.5")
    assert code == 0
    assert "first-order-bias" in out
    assert "0 failures of 0 kinds" in out


def test_a_failure_names_what_reproduces_it(capsys, monkeypatch, tmp_path):
    claim = claims.get("first-order-bias", "sharp")
    wrong = dataclasses.replace(claim, sides=lambda at: dataclasses.replace(claim.sides(at), rhs=Interval(0.0, 0.0)))
    monkeypatch.setattr(loop, "forms", lambda name: [wrong])
    code, out, _ = command(capsys, "first-order-bias", "--seconds", "2", "--seed", "7", "--json")
    failures = json.loads(out)["failures"]
    assert code == 1
    number = str(failures[0]["number"])
    again, out, _ = command(
        capsys, "first-order-bias", "--seed", "7", "--number", number, "--save", str(tmp_path / "it.json")
    )
    assert again == 1
    assert f"--seed 7 --number {number}" in out
    saved, drawn = Instance.load(tmp_path / "it.json"), instance("first-order-bias", 7, int(number))
    assert saved.alpha == drawn.alpha


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("lemma-9",), "unknown; choose one of"),
        (("lemma-4.4", "--seconds", "-1"), "must be a finite number > 0"),
        (("all", "--number", "1"), "name it"),
        (("lemma-4.4", "--save", "x.json"), "give --number"),
        (("lemma-4.4", "--number", "-3"), "start at 0"),
    ],
)
def test_bad_words_get_one_line(capsys, words, line):
    code, _, err = command(capsys, *words)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


def test_without_mpmath_one_line_says_what_to_install():
    code = "import sys; sys.modules['mpmath'] = None; from pfl_theory.cli import main; main(['attack', 'all'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: attack needs mpmath for its 50 digits: pip install 'pfl-theory[attack]'"


def test_a_statement_without_a_referee_says_so(monkeypatch):
    monkeypatch.setattr(referees, "names", lambda: ["lemma-4.2"])
    with pytest.raises(InputError, match="no referee"):
        claims_of(["lemma-4.4"])
