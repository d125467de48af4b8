"""Tiny Shakespeare: only the published text is accepted, users are named persons, windows stay inside a speech."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_server import flipped, known, left_behind, server, shut_in

from pfl_theory.datasets import local, shakespeare, shakespeare_available
from pfl_theory.errors import DataMissingError, InputError, OutputError
from pfl_theory.federations import writers, writers_pair

# The function `shakespeare` hides its module of the same name.
module = importlib.import_module("pfl_theory.datasets.shakespeare")

TEXT = b"""ROMEO:
But, soft! what light
through yonder window breaks?

First Citizen:
Speak, speak, we are all resolved to speak.

ROMEO:
It is the east.

JULIET:
Ay me!


ROMEO:
She speaks: O, speak again, bright angel!

JULIET:
O Romeo, Romeo! wherefore art thou Romeo?

Ghost of CLARENCE:

ALL:
Peace, peace, peace, peace, peace, peace!

TIME:
I, that please some, try all, both joy and terror.
"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    return shut_in(monkeypatch, tmp_path, module)


@pytest.fixture
def put(monkeypatch, elsewhere):
    """Write a text and make it the published one, as far as the reader knows."""

    def write(content: bytes, place: str = "cache") -> None:
        monkeypatch.setattr(module, "FILE", known("input.txt", content))
        path = elsewhere / place / "shakespeare" / "input.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def read_back(data) -> list[tuple[str, str, str]]:
    """Speaker, context and next character of every window."""
    x = data.x.reshape(len(data), *data.shape)
    assert set(np.unique(x)) <= {0, 1}
    assert (x.sum(axis=2) == 1).all()
    symbols = np.array(list(module.ALPHABET))
    return [
        (data.group_names[group], "".join(symbols[row]), str(symbols[y]))
        for group, row, y in zip(data.groups, x.argmax(axis=2), data.y, strict=True)
    ]


def windows_of(parts: dict[str, list[str]], context: int, most: int = 10**9) -> list[tuple[str, str, str]]:
    """The same from speeches, one character at a time."""
    found = []
    for speaker, texts in parts.items():
        own = [(speaker, text[at - context : at], text[at]) for text in texts for at in range(context, len(text))]
        found += own[:most]
    return found


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_small_text(put):
    put(TEXT)
    train = shakespeare(context=4, least=40, download=False)
    test = shakespeare("test", context=4, least=40, download=False)
    # ROMEO says 51, 15 and 41 characters, JULIET 6 and 41: the first speech of either is nearest to half. TIME has one
    # speech only; ALL and First Citizen are roles.
    first = {"ROMEO": ["But, soft! what light\nthrough yonder window breaks?"], "JULIET": ["Ay me!"]}
    second = {
        "ROMEO": ["It is the east.", "She speaks: O, speak again, bright angel!"],
        "JULIET": ["O Romeo, Romeo! wherefore art thou Romeo?"],
    }
    assert read_back(train) == windows_of(first, 4)
    assert read_back(test) == windows_of(second, 4)
    assert train.group_names == test.group_names == ("ROMEO", "JULIET")
    assert shakespeare(context=6, least=40, download=False).group_names == ("ROMEO",)  # "Ay me!" has no window
    assert shakespeare(context=2, least=48, download=False).group_names == ("ROMEO",)  # JULIET says 47 characters
    assert shakespeare(context=2, least=47, download=False).group_names == ("ROMEO", "JULIET")
    assert (train.x.dtype, train.scale, train.n_classes, train.shape) == (np.uint8, 1.0, 65, (4, 65))
    assert (train.title, test.title, train.split) == ("tiny Shakespeare", "tiny Shakespeare test", "train")
    assert "\n" not in train.source
    assert f"{len(train):,} train windows" in train.source


names = st.sampled_from(["ROMEO", "KING LEAR", "Nurse", "ALL"])
lines = st.text(alphabet="abc ,:", max_size=12).map(lambda text: f"x{text}")  # no empty line inside a speech
play = st.lists(st.tuples(names, st.lists(lines, max_size=3).map("\n".join)), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(play=play, context=st.integers(1, 5), least=st.integers(1, 30), most=st.integers(1, 20))
def test_any_text(play, context, least, most):
    """Against a second reading: parts by trying every cut, windows one character at a time."""
    content = "\n\n".join(f"{name}:\n{said}".rstrip("\n") for name, said in play) + "\n"
    said: dict[str, list[str]] = {}
    for name, text in play:
        if name in ("ROMEO", "KING LEAR"):
            said.setdefault(name, []).append(text)
    parts: tuple[dict, dict] = ({}, {})
    for name, texts in said.items():
        total = len("".join(texts))
        cut = min(range(1, len(texts) + 1), key=lambda c, t=texts, n=total: (abs(n - 2 * len("".join(t[:c]))), c))
        both = texts[:cut], texts[cut:]
        if total >= least and all(windows_of({name: part}, context) for part in both):
            parts[0][name], parts[1][name] = both
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "obtain", lambda *args, **keywords: content.encode())
        if not parts[0]:
            with pytest.raises(InputError, match="nobody in input.txt says so much"):
                shakespeare(context=context, least=least, most=most)
            return
        for split, part in zip(("train", "test"), parts, strict=True):
            data = shakespeare(split, context=context, least=least, most=most)
            assert data.group_names == tuple(part)
            assert read_back(data) == windows_of(part, context, most)


def test_windows_stay_inside_a_speech_and_a_part(put):
    """Every speech of its own letter: no window has two, and no letter is in both parts."""
    speeches = [f"ROMEO:\n{letter * 30}" for letter in "abcdefghij"]
    put("\n\n".join(speeches).encode() + b"\n")
    seen = []
    for split in ("train", "test"):
        found = read_back(shakespeare(split, context=7, least=1, download=False))
        assert all(len({*before, after}) == 1 for _, before, after in found)
        assert len(found) == 5 * 23
        seen.append("".join(dict.fromkeys(after for _, _, after in found)))
    assert seen == ["abcde", "fghij"]


@pytest.mark.parametrize("name", ["context", "least", "most"])
@pytest.mark.parametrize("value", [0, -3, 2.5, "ten", None, True, float("nan")])
def test_bad_numbers(name, value, put):
    put(TEXT)
    with pytest.raises(InputError, match=rf"^{name} = .*: must be a whole number >= 1$") as error:
        shakespeare(download=False, **{name: value})
    assert repr(value) in str(error.value)


def test_nobody_is_left(put):
    put(TEXT)
    for keywords in ({"least": 10_000}, {"context": 60, "least": 1}):
        with pytest.raises(InputError, match=r"^least = .*, context = .*: nobody in input\.txt") as error:
            shakespeare(download=False, **keywords)
        assert "\n" not in str(error.value)


def test_splits_are_named():
    with pytest.raises(InputError, match="split = 'validation': unknown; choose one of 'train', 'test'"):
        shakespeare("validation")


# With the right checksum: parsed strictly all the same.
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "speech 0 begins ''"),
        (TEXT + b"\xff", r"byte \d+ is no ASCII"),
        (TEXT + "\u00e9".encode(), "no ASCII"),
        (TEXT.replace(b"bright", b"br1ght"), "has '1'; expected the 65 symbols"),
        (TEXT.replace(b"\n", b"\r\n"), r"has '\\r'"),
        (TEXT.replace(b"JULIET:\n", b"JULIET\n", 1), "speech 3 begins 'JULIET'; expected a speaker's name and a colon"),
        (TEXT.replace(b"JULIET:\n", b":\n", 1), "speech 3 begins ':'"),
        (TEXT.replace(b"what light\n", b"what light\n\n"), "speech 1 begins 'through yonder"),
    ],
)
def test_contents_are_checked(content, message, put):
    put(content)
    with pytest.raises(InputError, match=message) as error:
        shakespeare(context=2, least=1, download=False)
    assert str(error.value).startswith("input.txt: ")
    assert "\n" not in str(error.value)


def test_who_is_a_person():
    for name in ("ROMEO", "KING RICHARD III", "LADY CAPULET", "QUEEN"):
        assert module.is_person(name)
    for name in ("First Citizen", "Messenger", "Both", "Nurse", "NURSE", "ALL", "Young MARCIUS", "Ghost of CLARENCE"):
        assert not module.is_person(name)


# -- the file ----------------------------------------------------------------------------------------------------------


BAD = {
    "truncated": TEXT[: len(TEXT) // 2],
    "corrupted": flipped(TEXT),
    "a login page": b"<html>please log in</html>",
    "empty": b"",
    "too long": TEXT + b"more",
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "FILE", known("input.txt", TEXT))


def test_a_good_file_is_fetched_once(small, elsewhere):
    assert not shakespeare_available()
    with server({"input.txt": TEXT}) as (url, asked):
        first = shakespeare(context=4, least=40, base_url=url)
        again = shakespeare(context=4, least=40, base_url=[url])
    assert asked == ["input.txt"]
    assert shakespeare_available()
    assert left_behind(elsewhere) == ["input.txt"]
    assert np.array_equal(first.x, again.x)


@pytest.mark.parametrize("what", BAD)
def test_wrong_downloads_are_refused_and_leave_nothing(what, small, elsewhere):
    with (
        server({"input.txt": BAD[what]}) as (url, _),
        pytest.raises(InputError, match=r"input\.txt: no mirror sent the published file") as error,
    ):
        shakespeare(base_url=url)
    assert not isinstance(error.value, DataMissingError)
    assert hashlib.sha256(TEXT).hexdigest() in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(elsewhere) == []


@pytest.mark.parametrize("close_after", [0, 100])
def test_a_connection_closed_halfway_leaves_nothing(close_after, small, elsewhere):
    with (
        server({"input.txt": TEXT}, close_after=close_after) as (url, _),
        pytest.raises(InputError, match=r"input\.txt"),
    ):
        shakespeare(base_url=url)
    assert left_behind(elsewhere) == []


def test_absent(small, elsewhere, monkeypatch):
    with pytest.raises(
        DataMissingError, match=r"input\.txt is absent \(downloading is off here\); put it in a folder sh"
    ):
        shakespeare(download=False)
    with pytest.raises(DataMissingError, match="downloading is off here"):
        local("shakespeare")
    with server({}) as (gone, _), pytest.raises(DataMissingError, match=r"absent .*HTTP 404.*PFL_THEORY_DATA"):
        shakespeare(base_url=gone)
    assert left_behind(elsewhere) == []
    (elsewhere / "plain").write_text("not a folder")
    monkeypatch.setenv("PFL_THEORY_CACHE", str(elsewhere / "plain"))
    with server({"input.txt": TEXT}) as (url, _), pytest.raises(OutputError, match="PFL_THEORY_CACHE"):
        shakespeare(base_url=url)


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("place", ["mine", "cache"])
def test_a_wrong_local_file_is_named_never_replaced(what, place, small, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere / "mine"))
    path = elsewhere / place / "shakespeare" / "input.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(BAD[what])
    with server({"input.txt": TEXT}) as (url, asked), pytest.raises(InputError) as error:
        shakespeare(base_url=url)
    for part in (f"{path}: not the published input.txt", "replace or delete it", hashlib.md5(TEXT).hexdigest()):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert asked == []
    assert path.read_bytes() == BAD[what]


def test_the_users_folder_comes_first(put, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere / "mine"))
    put(b"never read")
    put(TEXT, "mine")
    assert shakespeare_available()
    assert len(shakespeare(context=4, least=40, download=False)) == 47 + 2


# -- the real text -----------------------------------------------------------------------------------------------------


@pytest.fixture
def text(monkeypatch):
    """The real text; undoes the fixture that hides the user's folders."""
    monkeypatch.undo()
    return module.local_path("shakespeare", "input.txt").read_text(encoding="ascii")


@pytest.mark.data("shakespeare")
def test_real_speakers(text):
    """Names and their characters counted a second way, by the lines that stand after an empty one."""
    heads = [m for m in re.finditer(r"(?:\A|\n\n\n?)([^\n]+):(?=\n)", text)]
    ends = [m.start() for m in heads[1:]] + [len(text)]
    said = Counter()
    for head, end in zip(heads, ends, strict=True):
        said[" ".join(head[1].split())] += len(text[head.end() : end].strip("\n"))
    assert (len(heads), len(said)) == (7222, 308)  # 309 with "LADY  CAPULET"
    assert "".join(sorted(set(text))) == module.ALPHABET
    dropped = {name for name in said if not module.is_person(name)}
    assert len(dropped) == 144
    long = {name for name in said if said[name] >= 2000}
    assert len(long) == 99
    assert long & dropped == {
        *("Nurse", "Clown", "Lord", "Messenger", "Provost", "Servant", "Shepherd"),
        *("First Citizen", "First Gentleman", "First Murderer", "First Senator", "Second Murderer"),
        *("Third Citizen", "Third Gentleman", "Third Servingman"),
    }
    # a role in small letters is in capitals somewhere else: all of these are among the eight
    small_letters = {name.upper() for name in said if not name.isupper()}
    assert {name for name in said if name.isupper() and name in small_letters} <= module.ROLES_IN_CAPITALS <= set(said)
    train, test = shakespeare(download=False), shakespeare("test", download=False)
    assert set(train.group_names) == long - dropped
    assert train.group_names == test.group_names
    assert (len(train.group_names), train.group_names[0]) == (84, "MENENIUS")


@pytest.mark.data("shakespeare")
def test_real_windows(text):
    """Every window stands in the text as it is, the first in each person's own order; the parts are about halves."""
    train, test = shakespeare(download=False), shakespeare("test", download=False)
    assert (len(train), len(test)) == (120_991, 121_261)
    assert train.x.nbytes + test.x.nbytes < 200e6
    all_of = [
        np.bincount(shakespeare(split, context=1, most=10**6, download=False).groups) for split in ("train", "test")
    ]
    share = all_of[0] / (all_of[0] + all_of[1])
    assert 0.3 < share.min() < 0.5 < share.max() < 0.7
    for data in (train, test):
        counts = np.bincount(data.groups)
        assert (counts.max(), len(counts)) == (1500, 84)
        some = np.random.default_rng(0).choice(len(data), 300, replace=False)
        x = data.x[some].reshape(300, 10, 65).argmax(axis=2)
        for row, y in zip(x, data.y[some], strict=True):
            assert "".join(module.ALPHABET[k] for k in [*row, y]) in text


@pytest.mark.data("shakespeare")
def test_real_speakers_are_users(text):
    data = shakespeare(download=False), shakespeare("test", download=False)
    train, test = writers_pair(*data, min_size=1000)
    counts = np.bincount(data[0].groups)
    assert train.info["users"] == test.info["users"]
    assert train.info["users"] == [name for name, n in zip(data[0].group_names, counts, strict=True) if n >= 1000]
    assert train.sizes.tolist() == counts[counts >= 1000].tolist()
    assert (train.scale, train.n_features, test.info["dataset"]) == (1.0, 650, "tiny Shakespeare")
    assert writers(shakespeare(context=3, most=100, download=False), n_users=5).sizes.tolist() == [100] * 5
