"""Users from a table of one's own: read, reported and judged from the command line; what is wrong is one line."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest

import pfl_theory as pfl
from pfl_theory import claims, cli
from pfl_theory.errors import InputError
from pfl_theory.federations._table import from_table


def table(n=6, rows=20):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(n * rows, 2)), columns=["height", "weight"])
    frame["who"] = np.repeat([f"ann {i}" for i in range(n)], rows)
    frame["sick"] = np.where(frame.height + rng.normal(size=n * rows) > 0, "yes", "no")
    frame["kind"] = np.tile(["a", "b", "c", "a"], n * rows // 4)
    frame["dose"] = 2.0 * frame.weight + rng.normal(size=n * rows)
    frame["gap"] = np.where(np.arange(n * rows) == 3, np.nan, 1.0)
    return frame


@pytest.fixture
def users(tmp_path):
    table().to_csv(tmp_path / "users.csv", index=False)
    return tmp_path / "users.csv"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


# --- reading ---


def test_a_table_becomes_users(users):
    fed = pfl.Federation.from_csv(users, user="who", label="sick")
    frame = table()
    assert fed.info["users"] == [f"ann {i}" for i in range(6)]
    assert fed.info["classes"] == {"0": "no", "1": "yes"}
    assert fed.info["features"] == "height, weight, dose"
    assert fed.info["left_out"] == {"kind": "not a number", "gap": "1 values are missing"}
    assert fed.law == "sample"
    assert fed[2].points == pytest.approx(frame[frame.who == "ann 2"][["height", "weight", "dose"]].to_numpy())
    assert fed[2].labels.tolist() == (frame[frame.who == "ann 2"].sick == "yes").astype(int).tolist()


def test_targets_and_no_labels(users):
    real = from_table(users, user="who", target="dose")
    assert real.y.dtype == np.float64
    assert real.n_features == 2
    none = from_table(users, user="who", law="exact")
    assert none.y is None
    assert none.law == "exact"
    three = from_table(users, user="who", label="kind")
    assert three.info["classes"] == {"0": "a", "1": "b", "2": "c"}


def test_numbers_name_users_and_classes_too(tmp_path):
    frame = pd.DataFrame({"id": [10, 2, 10, 2], "label": [5, 7, 7, 5], "x": [1.0, 2.0, 3.0, 4.0]})
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    fed = from_table(tmp_path / "t.tsv", user="id", label="label")
    assert fed.info["users"] == [2, 10]
    assert fed.y.tolist() == [1, 0, 0, 1]
    assert fed.x.ravel().tolist() == [2.0, 4.0, 1.0, 3.0]


def test_a_row_in_another_order_is_the_same_table(users, tmp_path):
    table().sample(frac=1.0, random_state=0).to_csv(tmp_path / "mixed.csv", index=False)
    a, b = (from_table(path, user="who", label="sick") for path in (users, tmp_path / "mixed.csv"))
    c = [pfl.Problem(pfl.losses.Logistic(), fed).constants() for fed in (a, b)]
    for name in c[0]:
        assert c[0][name].max() == pytest.approx(c[1][name].max(), rel=1e-9)


BAD = [
    ({"user": "nobody"}, "no column 'nobody' (user)"),
    ({"user": "who", "label": "ill"}, "no column 'ill' (label)"),
    ({"user": "who", "target": "ill"}, "no column 'ill' (target)"),
    ({"user": "one"}, "names one user only"),
    ({"user": "who", "label": "one"}, "has one class only"),
    ({"user": "who", "label": "sick", "target": "dose"}, "give only that"),
    ({"user": "who", "target": "sick"}, "is no number"),
    ({"user": "who", "label": "dose"}, "give real targets as target"),
    ({"user": "gap"}, "is missing in column 'gap'"),
    ({"user": "who", "label": "gap"}, "no value in column 'gap'"),
]


@pytest.mark.parametrize(("keywords", "says"), BAD)
def test_bad_tables_are_one_line(tmp_path, keywords, says):
    table().assign(one="same").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError) as raised:
        from_table(tmp_path / "t.csv", **keywords)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bad_files_are_one_line(tmp_path, monkeypatch):
    for name, content, says in (
        ("t.txt", "a", "a table ends in"),
        ("none.csv", None, "no such file"),
        ("empty.csv", "", "not a readable table"),
        ("text.csv", "who,word\na,b\nc,d\n", "no numeric column is left"),
        ("bad.csv", 'who,x\na,1\nb,1,2,3\n"', "not a readable table"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        with pytest.raises(InputError, match=says) as raised:
            from_table(path, user="who")
        assert "\n" not in str(raised.value)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(InputError, match="Parquet needs pyarrow, which is not installed"):
        from_table(tmp_path / "t.parquet", user="who")


# --- report ---


def test_report_of_a_table(capsys, users):
    code, out, err = call(capsys, "report", users, "--user", "who", "--label", "sick", "--rounds", 500)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "loss Logistic" in out
    assert "Theorem 2: sum" in out
    assert "left out of the features: kind (not a number); gap (1 values are missing)" in err
    fed = pfl.Federation.from_csv(users, user="who", label="sick")
    problem = pfl.Problem(pfl.losses.Logistic(), fed)
    algorithm, alpha = pfl.reports.usual_algorithm(problem)
    assert str(pfl.report(problem, algorithm, rounds=500)) == out.rstrip("\n")
    c = problem.constants()
    assert alpha == 0.2 / c["L"].max()
    L_F = (1 + alpha * c["L"].max()) ** 2 * c["L"].max() + alpha * c["rho"].max() * c["B"].max()
    assert algorithm.beta == pytest.approx(0.1 / (5 * L_F))
    assert (algorithm.participation, algorithm.local_steps) == (1, 5)


def test_report_as_json_with_a_run_and_a_figure(capsys, users, tmp_path):
    arguments = ("--user", "who", "--label", "kind", "--epsilon", 0.5, "--run", "--rounds", 20, "--batch", 4)
    figure = tmp_path / "terms.png"
    code, out, _ = call(capsys, "report", users, *arguments, "--figure", figure, "--json")
    data = json.loads(out)
    assert code == 0
    assert data["facts"]["loss"] == "Softmax"
    assert len(data["bounds"][0]["terms"]) == 6
    assert any(row["known"] == "measured" for section in data["sections"] for row in section["rows"])
    assert data["recommended"]["reason"]
    assert figure.read_bytes()[1:4] == b"PNG"


def test_report_without_labels_and_with_targets(capsys, users):
    code, out, _ = call(capsys, "report", users, "--user", "who", "--variant", "FedAvg", "--tau", 2)
    assert code == 0
    assert "loss LogCosh" in out
    code, out, _ = call(capsys, "report", users, "--user", "who", "--target", "dose", "--participation", 0.5)
    assert code == 0
    assert "3 of 6 users" in " ".join(out.split())


def test_report_of_an_npz(capsys, users, tmp_path):
    path = pfl.Federation.from_csv(users, user="who", label="sick").save(tmp_path / "users.npz")
    table_out = call(capsys, "report", users, "--user", "who", "--label", "sick")[1]
    assert call(capsys, "report", path)[1] == table_out


def test_epsilon_below_the_floor_is_one_sentence(capsys, users):
    arguments = ("--user", "who", "--label", "sick", "--variant", "first-order", "--epsilon", 1e-6)
    code, out, _ = call(capsys, "report", users, *arguments)
    assert code == 0
    assert "no choice reaches epsilon = 1e-06: the bias alone is bounded by 4.87 b^2" in " ".join(out.split()).lower()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give --user COLUMN"),
        (("--user", "nobody"), "no column 'nobody'"),
        (("--user", "who", "--label", "sick", "--epsilon", 0), "--epsilon 0.0: must be"),
        (("--user", "who", "--label", "sick", "--epsilon", -1), "--epsilon -1.0: must be"),
        (("--user", "who", "--label", "sick", "--rounds", 0), "--rounds 0: must be at least 1"),
        (("--user", "who", "--loss", "logistic"), "it needs classes"),
        (("--user", "who", "--loss", "absolute"), "choose one of"),
        (("--user", "who", "--label", "kind", "--loss", "logistic"), "outside the classes"),
        (("--user", "who", "--label", "sick", "--participation", 0.3), "must be an integer"),
        (("--user", "who", "--loss", "least-squares", "--target", "dose"), "give beta, or a ball"),
        (("--user", "who", "--label", "sick", "--figure", "terms"), "must end in"),
        (("--user", "who", "--label", "sick", "--tau", 0), "tau must be an integer >= 1"),
        (("--user", "who", "--label", "sick", "--distances", "some"), "choose one of"),
    ],
)
def test_bad_input_is_one_line(capsys, users, arguments, says):
    code, out, err = call(capsys, "report", users, *arguments)
    lines = [line for line in err.splitlines() if not line.startswith("left out of the features")]
    assert code == 2
    assert out == ""
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]


def test_one_user_in_an_npz(capsys, tmp_path):
    path = pfl.Federation.from_arrays([np.ones((3, 2))], [[0, 1, 1]]).save(tmp_path / "one.npz")
    code, _, err = call(capsys, "report", path)
    assert code == 2
    assert "one user only" in err
    assert "an npz names its users" in call(capsys, "report", path, "--user", "who")[2]


def test_distances_of_a_table(capsys, users):
    code, out, _ = call(capsys, "distances", users, "--user", "who", "--label", "sick", "--json")
    data = json.loads(out)
    assert code == 0
    assert [row["user"] for row in data["users"]] == [f"ann {i}" for i in range(6)]
    fed = pfl.Federation.from_csv(users, user="who", label="sick")
    assert data["M"] == list(pfl.distances.to_average(fed).M)
    assert "ann 3" in call(capsys, "distances", users, "--user", "who", "--pairs")[1]


def test_what_takes_long_is_said(capsys, monkeypatch):
    """The timer's own two seconds are not waited for: its function is called at once."""
    import threading

    class AtOnce:
        def __init__(self, seconds, call):
            assert seconds == 2.0
            self.start = call

        def cancel(self):
            pass

    monkeypatch.setattr(threading, "Timer", AtOnce)
    with cli._stage("W1 of 3 pairs of users"):
        pass
    assert capsys.readouterr().err == "computing: W1 of 3 pairs of users ...\n"


# --- every statement ---


def instance(**changes):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 10, 2))
    problem = pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays(x, (x[..., 0] > 0).astype(int)))
    keywords = {"points": np.array([[0.0, 0.0], [0.2, 0.1]]), **changes}
    return pfl.Instance(problem, 0.1, name="mine", **keywords)


def test_judge_all_is_every_claim_judged():
    at = instance(algorithm=pfl.PerFedAvg(0.1, 0.01, 2, 1.0), rounds=5, runs=3)
    found = pfl.judge_all(at)
    every = claims.all_claims()
    assert [(v.claim, v.version, v.form) for v in found] == [(c.name, c.version, c.form) for c in every]
    for verdict, claim in zip(found, every, strict=True):
        if verdict.outcome != "NOT_APPLICABLE":
            assert str(verdict.row()) == str(claim.judge(at).row())
    applies = {v.claim for v in found.applying}
    assert {"theorem-4.5", "theorem-4.5-full", "lemma-4.2", "tv-gradient", "gamma-chain"} <= applies
    assert all(v.outcome != "VIOLATED" for v in found)
    assert len(found.frame()) == len(every)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    assert f"{len(every)} statements:" in text
    assert "of them sampled: all right at once with probability at least" in text
    assert found._repr_html_().count("<tr>") == len(every) + 1


def test_what_is_not_given_makes_a_statement_not_applicable():
    found = pfl.judge_all(instance(points=None))
    outcomes = {v.claim: v for v in found if v.version == "paper" and not v.form}
    assert outcomes["lemma-4.2"].outcome == "NOT_APPLICABLE"
    assert "give two or more points" in outcomes["lemma-4.2"].reason
    assert outcomes["corollary-4.6"].outcome == "NOT_APPLICABLE"
    assert len(claims.judge_all(instance(), name="lemma-4.4")) == 3
    with pytest.raises(InputError, match="unknown"):
        claims.judge_all(instance(), name="lemma-1")


def test_a_violated_statement_stays_violated():
    at = claims.get("theorem-4.5", form="sharp-constants").witness()
    found = pfl.judge_all(at)
    assert any(v.outcome == "VIOLATED" and v.form == "sharp-constants" for v in found)


def test_judge_without_version_judges_all_forms(capsys, tmp_path):
    code, out, _ = call(capsys, "judge", "lemma-4.4")
    assert code == 0
    assert out.count("lemma-4.4 (") == 3
    data = json.loads(call(capsys, "judge", "lemma-4.4", "--json")[1])
    assert [row["version"] for row in data] == ["paper", "sharp", "sharp"]
    path = instance().save(tmp_path / "mine.json")
    code, out, _ = call(capsys, "judge", "tv-gradient", "--instance", path, "--json")
    assert [row["outcome"] for row in json.loads(out)] == ["HOLDS", "HOLDS"]
    assert call(capsys, "judge", "tv-gradient", "--instance", path, "--expect", "VIOLATED")[0] == 1
    assert json.loads(call(capsys, "judge", "tv-gradient", "--version", "sharp", "--json")[1])["outcome"] == "HOLDS"
    assert "sharp, convex" in call(capsys, "judge", "lemma-4.2", "--form", "convex")[1]
    code, _, err = call(capsys, "judge", "lemma-4.2", "--form", "round")
    assert code == 2
    assert "there is version='paper'" in err
