"""No input gets a wrong number: the right value, or one line, on every road."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import pfl_theory as pfl
from pfl_theory import Federation, Measure, Problem, claims
from pfl_theory.distances import all_pairs, to_average, total_variation, wasserstein
from pfl_theory.errors import InputError
from pfl_theory.losses import Quadratic, Softmax

NAN = float("nan")
FOUR = Federation.from_arrays([[1.0], [2.0], [3.0], [4.0]])
NAMED = Federation.from_arrays(
    [1.0, 2.0, 3.0],
    groups=["ann", "bob", "cyd"],
    info={"age": [31, 32, 33], "more": {"town": ("A", "B", "C")}, "by name": {"ann": 1, "bob": 2, "cyd": 3}, "a": 5},
)
TIME = 1_700_000_000_000_000_000  # nanoseconds


def refused(call, pattern):
    with pytest.raises(InputError, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- which users ---


@pytest.mark.parametrize(
    ("users", "kept"),
    [
        (np.array([False, False, True, True]), [3.0, 4.0]),
        ([False, True, False, True], [2.0, 4.0]),
        (pd.Series([True, False, False, False]), [1.0]),
        ([3, 0], [4.0, 1.0]),
        (range(2), [1.0, 2.0]),
        (np.array([1, 1], np.uint8), [2.0, 2.0]),
        (iter([2]), [3.0]),
    ],
)
def test_users_by_number_or_by_truth_value(users, kept):
    assert FOUR.select(users).x.ravel().tolist() == kept


@pytest.mark.parametrize(
    ("users", "pattern"),
    [
        (1.5, "users = 1.5; give a list of numbers 0 to 3, or 4 truth values"),
        (True, "users = True; give a list"),
        (2, "users = 2; give a list"),
        ("01", "users = '01'; give a list"),
        ([1.0, 2.0], "dtype float64; give a list"),
        ([True, False], "2 truth values for 4 users"),
        (np.ones(5, bool), "5 truth values for 4 users"),
        ([True, 2], "give a list"),
        ([False] * 4, "no users given"),
        ([], "no users given"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([4], "must be 0 to 3, got 4 to 4"),
        ([-1], "must be 0 to 3"),
        (np.ma.masked_equal([0, 1], 1), "masked"),
    ],
)
def test_what_names_no_users(users, pattern):
    refused(lambda: FOUR.select(users), pattern)


def test_a_mask_is_a_mask_where_the_average_is_measured():
    found = to_average(FOUR, users=[False, False, False, True])
    assert found.average_upper == pytest.approx(to_average(FOUR).average_upper[3:])


@pytest.mark.parametrize("i", [True, 1.0, 1.5, [0], "0", None, slice(0, 2)])
def test_one_user_has_a_number(i):
    refused(lambda: FOUR[i], "give the number of one user, 0 to 3")


def test_what_is_known_of_users_follows_them():
    chosen = NAMED.select([2, 0])
    assert chosen.info == {
        "users": ["cyd", "ann"],
        "age": [33, 31],
        "more": {"town": ("C", "A")},
        "by name": {"cyd": 3, "ann": 1},
        "a": 5,
    }
    assert chosen.select([1]).info["users"] == ["ann"]
    pooled = NAMED.pooled()
    assert len(pooled.info["users"]) == len(pooled.info["age"]) == pooled.n_users == 1
    assert NAMED.info["users"] == ["ann", "bob", "cyd"], "the first federation is as it was"


# --- repeated columns ---


def test_repeated_columns():
    frame = pd.DataFrame([["a", 0.0, 0.0], ["b", 3.0, 4.0]], columns=["u", "h", "h"])
    fed = Federation.from_frame(frame, user="u")
    assert fed.n_features == 2
    assert all_pairs(fed).pairs_upper[0, 1] == pytest.approx(5.0, rel=1e-12)
    refused(lambda: Federation.from_frame(frame, user="u", features=["h"]), "2 columns are named 'h'")
    refused(lambda: Federation.from_frame(frame, user="h"), "2 columns are named 'h'")
    refused(lambda: Federation.from_frame(frame, user="u", label="h"), "2 columns are named 'h'")
    single = frame.set_axis(["u", "h", "k"], axis=1)
    refused(lambda: Federation.from_frame(single, user="u", features=["h", "h"]), "named twice")
    refused(lambda: Federation.from_frame(single[["u"]], user="u"), "no feature column")
    assert Federation.from_frame(single, user="u", features="k").x.ravel().tolist() == [0.0, 4.0]


# --- whole numbers beyond floats: refused at every door, for two of them would be taken for one ---

BIG = [TIME, TIME + 100]
BEYOND = {
    "federation": lambda: Federation.from_arrays([[BIG[0]], [BIG[1]]]),
    "federation, groups": lambda: Federation.from_arrays(BIG, groups=[0, 1]),
    "federation, uint64": lambda: Federation.from_arrays([np.array([2**63 + 1], np.uint64)]),
    "federation, labels": lambda: Federation.from_arrays([[1.0], [1.0]], [[2**53], [2**53 + 1]]),
    "federation, labels of groups": lambda: Federation.from_arrays([1.0, 1.0], BIG, groups=[0, 1]),
    "federation itself": lambda: Federation(np.array([[TIME]]), None, np.ones(1), np.array([0, 1])),
    "measure": lambda: Measure(BIG),
    "measure, negative": lambda: Measure([-(2**53) - 1]),
    "measure, labels": lambda: Measure([1.0, 1.0], [2**53, 2**53 + 1]),
    "whole numbers among floats": lambda: Measure([2**53 + 1, 0.5]),
    "labels among floats": lambda: Measure([1.0, 2.0], [2**53 + 1, 0.5]),
    "more digits than float64": lambda: Measure(np.array([2**53 + 1], np.longdouble)),
    "frame": lambda: Federation.from_frame(pd.DataFrame({"u": [0, 1], "t": BIG}), user="u"),
    "frame of mixed columns": lambda: Federation.from_frame(
        pd.DataFrame({"u": [0, 1], "t": BIG, "f": [0.1, 0.2]}), user="u"
    ),
    "frame, label": lambda: Federation.from_frame(
        pd.DataFrame({"u": [0, 1], "x": [1.0, 1.0], "t": BIG}), user="u", label="t"
    ),
    "frame, nullable": lambda: Federation.from_frame(pd.DataFrame({"u": [0, 1], "t": pd.array(BIG)}), user="u"),
    "potential": lambda: wasserstein(Measure([0.0]), Measure([1.0])).potential(np.array([TIME])),
}


@pytest.mark.parametrize("road", BEYOND)
def test_whole_numbers_beyond_floats(road):
    refused(BEYOND[road], r"no exact float|more digits than float64")


@pytest.mark.parametrize("kinds", [(np.int64, np.uint64), (np.int64, np.float64), (np.uint64, np.float32), (int, int)])
def test_whole_numbers_up_to_2_53_are_exact_in_all_dtypes(kinds):
    low = 2**53 - 2**30 if np.float32 not in kinds else 2**24
    p, q = (Measure(np.array([low + 2 * k], kind), [low + k]) for k, kind in enumerate(kinds))
    assert wasserstein(p, q).upper == pytest.approx(2.0, rel=1e-12)
    assert total_variation(p, q) == 1.0
    fed = Federation.from_arrays([p.points, q.points], [p.labels, q.labels])
    assert all_pairs(fed).pairs_upper[0, 1] == pytest.approx(2.0, rel=1e-12)
    assert all_pairs(fed, tv=True).pairs_lower[0, 1] == 1.0
    assert fed.y.dtype.kind == "i"


def test_names_of_users_may_be_any_whole_numbers():
    fed = Federation.from_arrays([1.0, 2.0, 3.0], groups=[2**60, 2**60 + 1, 2**60])
    assert fed.sizes.tolist() == [2, 1]
    assert fed.info["users"] == [2**60, 2**60 + 1]


@pytest.mark.parametrize("value", [TIME, 2**53 + 1])
def test_files_hold_no_more_than_floats_do(value, tmp_path):
    facts = json.dumps({"scale": 1.0, "law": "exact", "name": "x", "info": {}}).encode()
    path = tmp_path / "f.npz"
    np.savez(
        path,
        x=np.array([[value], [value + 1]]),
        weights=np.ones(2),
        offsets=np.arange(3),
        facts=np.frombuffer(facts, np.uint8),
    )
    refused(lambda: Federation.load(path), "no exact float")
    done = subprocess.run(
        [sys.executable, "-m", "pfl_theory.cli", "distances", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


# --- masks, missing users, tables ---

HIDDEN = np.ma.masked_equal([1.0, -999.0, 3.0], -999.0)
MASKED = {
    "measure": lambda: Measure(HIDDEN),
    "rows": lambda: Measure(np.ma.masked_equal([[1.0, -999.0]], -999.0)),
    "weights": lambda: Measure([1.0, 2.0], weights=np.ma.masked_equal([0.5, 0.5], 0.5)),
    "labels": lambda: Measure([1.0, 2.0, 3.0], HIDDEN),
    "users": lambda: Federation.from_arrays([HIDDEN, [1.0]]),
    "list of rows": lambda: Federation.from_arrays([[np.ma.masked_equal([1.0, 2.0], 2.0)]]),
    "three axes": lambda: Federation.from_arrays(np.ma.masked_equal(np.arange(8.0).reshape(2, 2, 2), 3.0)),
    "groups": lambda: Federation.from_arrays(HIDDEN, groups=[0, 0, 1]),
    "masked groups": lambda: Federation.from_arrays([1.0, 2.0, 3.0], groups=np.ma.masked_equal([0, 1, 2], 1)),
    "federation, labels": lambda: Federation.from_arrays([[1.0, 2.0, 3.0]], [HIDDEN]),
    "federation, weights": lambda: Federation.from_arrays([[1.0, 2.0, 3.0]], sample_weight=[HIDDEN]),
}


@pytest.mark.parametrize("road", MASKED)
def test_masked_values(road):
    refused(MASKED[road], "masked")


def test_a_masked_array_that_hides_nothing():
    assert Measure(np.ma.array([1.0, 3.0])).mean() == 2.0
    assert Measure(HIDDEN.compressed()).mean() == 2.0


@pytest.mark.parametrize(
    "table", [np.zeros((6, 3)), np.arange(3.0), np.zeros((6, 1), np.uint8), pd.DataFrame({"a": [1.0, 2.0]})]
)
def test_one_table_without_groups(table):
    refused(lambda: Federation.from_arrays(table), "no groups; give groups=")


@pytest.mark.parametrize(
    "groups",
    [
        [1.0, NAN, 1.0],
        np.array([1.0, NAN, 1.0]),
        ["a", None, "b"],
        ["a", NAN, "b"],
        np.array(["a", None, "b"], object),
        np.array(["a", NAN, "b"], object),
        pd.Series(["a", pd.NA, "b"]),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.array([1, None, 2]),
        pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
        np.array(["2020", "NaT", "2021"], "datetime64[D]"),
    ],
    ids=range(11),
)
def test_a_row_without_a_user(groups):
    refused(lambda: Federation.from_arrays([1.0, 2.0, 3.0], groups=groups), "missing")
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "who": groups})
    refused(lambda: Federation.from_frame(frame, user="who"), "missing")


def test_a_missing_value_of_a_frame_read_from_csv(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("who,x,x\na,1,2\n,3,4\n", encoding="utf-8")
    refused(lambda: Federation.from_frame(pd.read_csv(path), user="who"), "missing")
    path.write_text("who,x,x\na,1,2\nb,,4\n", encoding="utf-8")
    refused(lambda: Federation.from_frame(pd.read_csv(path), user="who"), "NaN")
    path.write_text("who,x,x\na,0,0\nb,3,4\n", encoding="utf-8")
    assert all_pairs(Federation.from_frame(pd.read_csv(path), user="who")).pairs_upper[0, 1] == pytest.approx(5.0)


def test_labels_of_two_kinds_are_not_compared():
    refused(lambda: total_variation(Measure([1.0], ["1"]), Measure([1.0], [1])), "the labels of p are names")


# --- files ---


def large_instance(name="given"):
    fed = Federation.from_arrays([np.arange(12_000.0).reshape(-1, 2)] * 2, name=name)
    return claims.Instance(Problem(Quadratic(), fed), 0.1)


def test_a_file_beside_another_is_kept(tmp_path):
    kept = NAMED.save(tmp_path / "users.npz")
    before = kept.read_bytes()
    first = large_instance().save(tmp_path / "users.json")
    assert kept.read_bytes() == before
    other = large_instance("other").save(tmp_path / "users.other.json")
    assert claims.Instance.load(first).problem.federation.name == "given"
    assert claims.Instance.load(other).problem.federation.name == "other"
    large_instance("third").save(first)
    assert claims.Instance.load(first).problem.federation.name == "third"
    assert kept.read_bytes() == before


def test_an_instance_keeps_what_is_known_of_its_users(tmp_path):
    path = claims.Instance(Problem(Quadratic(), NAMED), 0.1).save(tmp_path / "i.json")
    assert claims.Instance.load(path).problem.federation.info["users"] == ["ann", "bob", "cyd"]


def test_fields_and_formats_that_are_not_known(tmp_path):
    path = claims.Instance(Problem(Quadratic(), FOUR), 0.1, np.zeros((2, 1)), ball=(1.0, None)).save(
        tmp_path / "i.json"
    )
    whole = json.loads(path.read_text(encoding="utf-8"))
    claims.Instance.load(path)
    for change, pattern in (
        (lambda d: d.update(format=99), "format 99; this version reads formats up to 3"),
        (lambda d: d.update(format="2"), "format '2'"),
        (lambda d: d.update(ponits=[[0.0]]), "unknown field 'ponits'"),
        (lambda d: d["problem"].update(weights=1), "unknown field 'weights'"),
        (lambda d: d["problem"]["federation"].update(scale=2.0), "unknown field 'scale'"),
        (lambda d: d["problem"]["loss"].update(l3=2.0), "l3"),
        (lambda d: d["ball"].update(centre=[0.0]), "unknown field 'centre'"),
    ):
        changed = json.loads(json.dumps(whole))
        change(changed)
        path.write_text(json.dumps(changed), encoding="utf-8")
        refused(lambda: claims.Instance.load(path), pattern)


@pytest.mark.parametrize(
    ("facts", "arrays", "pattern"),
    [
        ({"format": 99}, {}, "format 99; this version reads formats up to 1"),
        ({"format": 0}, {}, "format 0"),
        ({"unit": "cm"}, {}, "unknown field 'unit'"),
        ({}, {"mask": np.ones(1)}, "unknown array mask"),
    ],
)
def test_federations_of_a_later_version(facts, arrays, pattern, tmp_path):
    path = NAMED.save(tmp_path / "f.npz")
    with np.load(path) as z:
        held = dict(z)
    told = {**json.loads(held["facts"].tobytes().decode()), **facts}
    held["facts"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    np.savez(path, **held, **arrays)
    refused(lambda: Federation.load(path), pattern)


# --- pixels, controls, figures ---


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64])
def test_pixels_without_scale_are_told(kind, rng):
    x = rng.integers(0, 256, (2, 10, 64)).astype(kind)
    y = rng.integers(0, 3, (2, 10))
    with pytest.warns(UserWarning, match="look like pixels; give scale=1/255"):
        Problem(Softmax(3), Federation.from_arrays(x, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Problem(Softmax(3), Federation.from_arrays(x, y, scale=1 / 255))
        Problem(Softmax(3), Federation.from_arrays(x / 255.0, y))
        Problem(Quadratic(), Federation.from_arrays(x))


def test_a_control_judges_the_instance_that_was_named(capsys):
    claim = claims.get("lemma-4.2")
    refused(lambda: claim.control(claim.case("large-alpha")), "no ratio is known there; choose one of witness")
    from pfl_theory.cli import main

    for instance in ("large-alpha", "random:3", "mine.json"):
        with pytest.raises(SystemExit) as ended:
            main(["judge", "lemma-4.2", "--instance", instance, "--control"])
        assert ended.value.code == 2
        assert "no ratio is known there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["judge", "lemma-4.2", "--control"])
    assert "VIOLATED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "module://no.such.backend", "nonsense"]
)
def test_figures_whatever_backend_a_notebook_named(backend, tmp_path):
    code = (
        "import sys; from pfl_theory.plotting import figure, save_figure; f, ax = figure(); ax.plot([1, 2]); "
        f"print(len(save_figure(f, {str(tmp_path)!r}, 'drawn')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MPLBACKEND": backend},
    )
    assert done.stdout == "2\n", done.stderr
    assert (tmp_path / "drawn.pdf").exists()


@pytest.mark.parametrize("names", [["a", 1, 2.5], ["1", 1, 2], (b"a", "a", "b"), [np.str_("a"), np.int64(1), True]])
@pytest.mark.parametrize("road", ["list", "objects", "series", "frame"])
def test_names_of_users_are_of_one_kind(road, names):
    """Not made text in silence: 1 and "1" would be one user."""
    objects = np.empty(3, object)
    objects[:] = names
    x = [1.0, 2.0, 3.0]
    roads = {
        "list": lambda: Federation.from_arrays(x, groups=names),
        "objects": lambda: Federation.from_arrays(x, groups=objects),
        "series": lambda: Federation.from_arrays(x, groups=pd.Series(objects)),
        "frame": lambda: Federation.from_frame(pd.DataFrame({"who": pd.Series(objects), "x": x}), user="who"),
    }
    refused(roads[road], "names of users of several kinds, such as .* and .*; make them all text or all numbers")


@pytest.mark.parametrize("names", [["b", "a", "b"], [2, 1.5, True], [b"b", b"a", b"b"], [2**70, 3, 2**70]])
def test_names_of_one_kind_stay_what_they_are(names):
    fed = Federation.from_arrays([1.0, 2.0, 3.0], groups=names)
    assert fed.info["users"] == sorted(set(names))
    assert {type(v) for v in fed.info["users"]} <= {str, bytes, int, float}


# --- one number on all roads ---


@pytest.mark.parametrize("kind", [float, np.float32, np.int8, np.uint16, np.int64, np.uint64, bool])
def test_one_distance_on_all_roads(kind, tmp_path, capsys):
    """Measures, lists, groups, frames, CSV, npz and the command line."""
    x = np.array([[0, 1], [1, 1], [0, 0], [1, 0]]).astype(kind)
    groups, values = ["a", "a", "b", "b"], x.astype(float)
    path = tmp_path / "f.csv"
    frame = pd.DataFrame({"who": groups, "s": x[:, 0], "t": x[:, 1]})
    (frame if kind is not bool else frame.astype({"s": int, "t": int})).to_csv(path, index=False)
    feds = [
        Federation.from_arrays([x[:2], x[2:]]),
        Federation.from_arrays([values[:2].tolist(), values[2:].tolist()]),
        Federation.from_arrays(x, groups=groups),
        Federation.from_frame(frame, user="who"),
        Federation.from_frame(pd.read_csv(path), user="who"),
    ]
    feds.append(Federation.load(feds[0].save(tmp_path / "f.npz")))
    for fed in feds:
        found = all_pairs(fed)
        assert found.pairs_lower[0, 1] <= 1.0 <= found.pairs_upper[0, 1]
        assert found.pairs_upper[0, 1] == pytest.approx(1.0, rel=1e-12)
    direct = wasserstein(Measure(x[:2]), Measure(values[2:]))
    assert direct.lower <= 1.0 <= direct.upper
    from pfl_theory.cli import main

    with pytest.raises(SystemExit):
        main(["distances", str(tmp_path / "f.npz"), "--pairs", "--json"])
    told = json.loads(capsys.readouterr().out)[0]
    assert told["W1 lower"] <= 1.0 <= told["W1 upper"]
    assert pfl.Measure(x[:2]).mean().tolist() == [0.5, 1.0]
