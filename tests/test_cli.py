"""The command line: exit codes, one-line errors, JSON."""

from __future__ import annotations

import json

import pytest

from pfl_theory import cli
from pfl_theory.claims import lemma_4_2


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def test_judged_is_zero_whatever_the_outcome(capsys):
    code, out, _ = call(capsys, "judge", "lemma-4.2", "--control")
    assert code == 0
    assert "VIOLATED" in out


def test_expect(capsys):
    assert call(capsys, "judge", "lemma-4.2", "--expect", "HOLDS")[0] == 0
    code, _, err = call(capsys, "judge", "lemma-4.2", "--control", "--expect", "HOLDS")
    assert code == 1
    assert err == "expected HOLDS, judged VIOLATED\n"


def test_json(capsys):
    _, out, _ = call(capsys, "judge", "lemma-4.2", "--version", "sharp", "--form", "one-dimensional", "--json")
    assert json.loads(out)["ratio"] == pytest.approx(1.0)
    for command in ("list", "datasets", "doctor"):
        assert json.loads(call(capsys, command, "--json")[1])


def test_an_instance_file_and_random_instances(capsys, tmp_path):
    path = lemma_4_2.witness(0.5).save(tmp_path / "mine.json")
    code, out, _ = call(capsys, "judge", "lemma-4.2", "--version", "paper", "--instance", str(path), "--json")
    assert code == 0
    assert json.loads(out)["ratio"] == pytest.approx(2 / 3)
    assert "5 of 5 hold" in call(capsys, "judge", "lemma-4.2", "--instance", "random:5")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("judge", "lemma-1"), "unknown"),
        (("judge", "lemma-4.2", "--version", "wrong"), "no version"),
        (("judge", "lemma-4.2", "--instance", "nowhere"), "no such file"),
        (("judge", "lemma-4.2", "--instance", "nowhere.json"), "no such instance file"),
        (("judge", "lemma-4.2", "--instance", "random:x"), "a number of instances"),
        (("judge", "lemma-4.2", "--expect", "TRUE"), "choose one of"),
        (("judge", "lemma-4.2", "--seed", "many"), "seed"),
        (("dance",), "No such command"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(capsys, arguments, says):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
