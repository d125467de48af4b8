"""CIFAR-10: only the published archive and files are accepted, and of a download nothing but these is kept."""

from __future__ import annotations

import hashlib
import importlib
import io
import tarfile

import numpy as np
import pytest
from local_server import flipped, known, left_behind, server, shut_in

from pfl_theory.datasets import cifar10, cifar10_available
from pfl_theory.datasets.download import Archive
from pfl_theory.errors import DataMissingError, InputError, OutputError

# The function `cifar10` hides its module of the same name.
module = importlib.import_module("pfl_theory.datasets.cifar10")

FOLDER = "cifar-10-batches-bin"
NAMES = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
PER_FILE = 20


def records(k: int) -> bytes:
    """Twenty records of noise, labels 0 to 9 twice in an order that depends on k."""
    rng = np.random.default_rng(k)
    labels = rng.permutation(np.arange(PER_FILE) % 10)
    return np.column_stack([labels, rng.integers(0, 256, (PER_FILE, 3072))]).astype(np.uint8).tobytes()


CONTENT = {name: records(k) for k, name in enumerate(NAMES)}


def packed(files: dict[str, bytes], *, also=(), kind: str = "w:gz") -> bytes:
    """A tar archive of files under their full names, and members of other types."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=kind) as tar:
        for info in also:
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def inside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


GOOD = packed({f"{FOLDER}/readme.html": b"<html>", **inside(CONTENT), f"{FOLDER}/batches.meta.txt": b"airplane\n"})


def pretend(monkeypatch, files: dict[str, bytes], archive: bytes = GOOD) -> None:
    """Make these six files, and this archive, the published ones, as far as the reader knows."""
    members = tuple(known(name, content) for name, content in files.items())
    monkeypatch.setattr(module, "FILES", {"train": members[:5], "test": members[5:]})
    monkeypatch.setattr(module, "ARCHIVE", Archive(known("images.tar.gz", archive), FOLDER, members))


def put(folder, files: dict[str, bytes]) -> None:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / FOLDER / name).write_bytes(content)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    return shut_in(monkeypatch, tmp_path, module)


@pytest.fixture
def small(monkeypatch):
    pretend(monkeypatch, CONTENT)


# -- downloads ---------------------------------------------------------------------------------------------------------


def test_the_archive_is_fetched_once_and_only_the_six_files_are_kept(small, elsewhere):
    assert not cifar10_available()
    with server({"images.tar.gz": GOOD}) as (url, asked):
        test = cifar10("test", base_url=url)
        train = cifar10(base_url=url)
    assert asked == ["images.tar.gz"]
    assert cifar10_available()
    assert left_behind(elsewhere) == sorted(NAMES)
    assert [p.name for p in (elsewhere / "cache").iterdir()] == [FOLDER]
    assert [p for p in (elsewhere / "cache" / FOLDER).iterdir() if p.is_dir()] == []
    whole = np.concatenate([np.frombuffer(CONTENT[name], np.uint8).reshape(PER_FILE, 3073) for name in NAMES])
    assert np.array_equal(np.concatenate([train.x, test.x]), whole[:, 1:])
    assert np.array_equal(np.concatenate([train.y, test.y]), whole[:, 0])
    assert (len(train), len(test), train.split, test.split) == (100, 20, "train", "test")
    assert (train.x.dtype, train.y.dtype, train.scale, train.shape, train.n_classes) == (
        np.uint8,
        np.int64,
        1 / 255,
        (3, 32, 32),
        10,
    )
    assert (train.name, test.title) == ("CIFAR-10", "CIFAR-10 test")
    assert "\n" not in train.source
    assert "100 images" in train.source


def test_planes_come_one_after_the_other(monkeypatch, elsewhere):
    """A red point in row 1, column 2; a green one in row 0, column 31; a blue one in the last row and column."""
    image = bytearray(3073)
    image[0], image[1 + 32 + 2], image[1 + 1024 + 31], image[1 + 2048 + 1023] = 7, 1, 2, 3
    files = {name: bytes(image) for name in NAMES}
    pretend(monkeypatch, files)
    put(elsewhere / "cache", files)
    data = cifar10("test", download=False)
    picture = data.x[0].reshape(data.shape)
    assert np.argwhere(picture).tolist() == [[0, 1, 2], [1, 0, 31], [2, 31, 31]]
    assert picture[picture > 0].tolist() == [1, 2, 3]
    assert data.y.tolist() == [7]


def test_what_is_here_is_not_fetched_and_what_is_absent_is(small, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere / "mine"))
    put(elsewhere / "mine", {name: CONTENT[name] for name in NAMES[:5]})
    with server({"images.tar.gz": GOOD}) as (url, asked):
        assert len(cifar10(base_url=url)) == 100
        assert asked == []
        assert not cifar10_available()
        assert len(cifar10("test", base_url=url)) == 20
    assert asked == ["images.tar.gz"]
    assert left_behind(elsewhere) == ["test_batch.bin"]


BAD = {
    "truncated": GOOD[: len(GOOD) // 2],
    "corrupted": flipped(GOOD),
    "another file": packed(inside(dict(reversed(CONTENT.items())))),
    "a login page": b"<html>please log in</html>",
    "empty": b"",
    "too long": GOOD + b"more",
}


@pytest.mark.parametrize("what", BAD)
def test_wrong_archives_are_refused_and_leave_nothing(what, small, elsewhere):
    with (
        server({"images.tar.gz": BAD[what]}) as (url, _),
        pytest.raises(InputError, match=r"images\.tar\.gz: no mirror sent the published file") as error,
    ):
        cifar10(base_url=url)
    assert not isinstance(error.value, DataMissingError)
    assert hashlib.sha256(GOOD).hexdigest() in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(elsewhere) == []


@pytest.mark.parametrize("close_after", [0, 100, 100_000])
def test_a_connection_closed_halfway_leaves_nothing(close_after, small, elsewhere):
    assert close_after < len(GOOD)
    with (
        server({"images.tar.gz": GOOD}, close_after=close_after) as (url, _),
        pytest.raises(InputError, match=r"images\.tar\.gz|data_batch_1\.bin"),
    ):
        cifar10(base_url=url)
    assert left_behind(elsewhere) == []


def test_no_mirror_answers(small, elsewhere):
    where = rf"put it in a folder {FOLDER}/ and set PFL_THEORY_DATA"
    with (
        server({}) as (gone, _),
        pytest.raises(DataMissingError, match=rf"data_batch_1\.bin is absent .*HTTP 404\); {where}") as error,
    ):
        cifar10(base_url=gone)
    assert "\n" not in str(error.value)
    with pytest.raises(DataMissingError, match="ConnectionError"):
        cifar10("test", base_url=gone)  # that server is down now
    assert left_behind(elsewhere) == []


def test_the_next_mirror_is_tried(small, elsewhere):
    with (
        server({}) as (gone, _),
        server({"images.tar.gz": GOOD[:-9]}) as (bad, _),
        server({"images.tar.gz": GOOD}) as (url, asked),
    ):
        assert len(cifar10(base_url=[gone, bad, url])) == 100
    assert asked == ["images.tar.gz"]


def test_absent_and_no_download(small, elsewhere):
    with pytest.raises(DataMissingError, match=r"test_batch\.bin is absent \(downloading is off here\)"):
        cifar10("test", download=False)
    assert not (elsewhere / "cache").exists()


def test_a_cache_that_cannot_be_written(small, elsewhere, monkeypatch):
    (elsewhere / "plain").write_text("not a folder")
    monkeypatch.setenv("PFL_THEORY_CACHE", str(elsewhere / "plain"))
    with server({"images.tar.gz": GOOD}) as (url, _), pytest.raises(OutputError, match="PFL_THEORY_CACHE"):
        cifar10(base_url=url)


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(small, elsewhere, monkeypatch):
    download = importlib.import_module("pfl_theory.datasets.download")
    whole = download._verified

    def full(content, where, known, advice=""):
        if known.name == "data_batch_3.bin":
            raise OSError(28, "No space left on device")
        return whole(content, where, known, advice)

    monkeypatch.setattr(download, "_verified", full)
    with (
        server({"images.tar.gz": GOOD}) as (url, _),
        pytest.raises(OutputError, match=r"No space left on device.*make room"),
    ):
        cifar10(base_url=url)
    assert left_behind(elsewhere) == []


# With the right checksum: unpacked strictly all the same.


def linked(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


WITHOUT_LAST = {name: CONTENT[name] for name in NAMES[:5]}
BROKEN = packed(inside(CONTENT))
ARCHIVES = {
    "no gzip": (packed(inside(CONTENT), kind="w"), "not a readable archive"),
    "no tar": (b"\x1f\x8b" + b"junk" * 500, "not a readable archive"),
    "cut": (BROKEN[: len(BROKEN) // 2], "not a readable archive"),
    "corrupted": (flipped(BROKEN), "not a readable archive|not the published"),
    "one file short": (packed(inside(WITHOUT_LAST)), rf"has no {FOLDER}/test_batch\.bin"),
    "no folder": (packed(CONTENT), rf"has no {FOLDER}/data_batch_1\.bin"),
    "outside": (packed({f"{FOLDER}/../{name}": content for name, content in CONTENT.items()}), "has no"),
    "absolute": (packed({f"/{FOLDER}/{name}": content for name, content in CONTENT.items()}), "has no"),
    "a short file": (
        packed(inside({**CONTENT, "data_batch_2.bin": CONTENT["data_batch_2.bin"][:-1]})),
        r"data_batch_2\.bin in images\.tar\.gz: 61,459 bytes; expected 61,460 bytes",
    ),
    "another file": (
        packed(inside({**CONTENT, "data_batch_2.bin": CONTENT["data_batch_1.bin"]})),
        r"data_batch_2\.bin in images\.tar\.gz: not the published",
    ),
    "a symbolic link": (
        packed(inside(WITHOUT_LAST), also=[linked(f"{FOLDER}/test_batch.bin", "/etc/hostname", tarfile.SYMTYPE)]),
        r"test_batch\.bin in images\.tar\.gz: 0 bytes, not a plain file",
    ),
    "a hard link": (
        packed(inside(WITHOUT_LAST), also=[linked(f"{FOLDER}/test_batch.bin", "../x", tarfile.LNKTYPE)]),
        "not a plain file",
    ),
    "a folder": (packed({}, also=[linked(f"{FOLDER}/data_batch_1.bin", "", tarfile.DIRTYPE)]), "not a plain file"),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_strange_archives_are_refused_and_leave_nothing(what, monkeypatch, elsewhere):
    archive, message = ARCHIVES[what]
    pretend(monkeypatch, CONTENT, archive)
    with server({"images.tar.gz": archive}) as (url, _), pytest.raises(InputError, match=message) as error:
        cifar10(base_url=url)
    assert not isinstance(error.value, (DataMissingError, OutputError))
    assert "\n" not in str(error.value)
    assert left_behind(elsewhere) == []
    assert sorted(p.name for p in elsewhere.iterdir()) == ["cache"]


def test_members_that_nobody_asked_for_are_never_written(monkeypatch, elsewhere):
    strange = {"../../above.txt": b"x", "/tmp/absolute.txt": b"x", f"{FOLDER}/../beside.txt": b"x"}
    link = linked(f"{FOLDER}/more", "..", tarfile.SYMTYPE)
    archive = packed({**strange, **{f"./{name}": content for name, content in inside(CONTENT).items()}}, also=[link])
    pretend(monkeypatch, CONTENT, archive)
    with server({"images.tar.gz": archive}) as (url, _):
        assert len(cifar10(base_url=url)) == 100
    assert sorted(str(p.relative_to(elsewhere)) for p in elsewhere.rglob("*") if p.is_file()) == [
        f"cache/{FOLDER}/{name}" for name in sorted(NAMES)
    ]


# -- local files -------------------------------------------------------------------------------------------------------


def test_the_users_folder_comes_first(small, elsewhere, monkeypatch):
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere / "mine"))
    put(elsewhere / "mine", {name: CONTENT[name] for name in NAMES[:2]})
    put(elsewhere / "cache", {**CONTENT, "data_batch_1.bin": b"never read"})
    assert cifar10_available()
    assert len(cifar10(download=False)) == 100


@pytest.mark.parametrize("wrong", [CONTENT["data_batch_2.bin"], CONTENT["data_batch_3.bin"][:-7], b""])
@pytest.mark.parametrize("place", ["mine", "cache"])
def test_a_wrong_local_file_is_named_never_replaced(wrong, place, small, elsewhere, monkeypatch):
    """Such as what a machine that stopped left half-written."""
    monkeypatch.setenv("PFL_THEORY_DATA", str(elsewhere / "mine"))
    put(elsewhere / place, {**CONTENT, "data_batch_3.bin": wrong})
    path = elsewhere / place / FOLDER / "data_batch_3.bin"
    with server({"images.tar.gz": GOOD}) as (url, asked), pytest.raises(InputError) as error:
        cifar10(base_url=url)
    digests = [f(CONTENT["data_batch_3.bin"]).hexdigest() for f in (hashlib.md5, hashlib.sha256)]
    for part in (f"{path}: not the published data_batch_3.bin ({len(wrong):,} bytes", "replace or delete it", *digests):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert asked == []
    assert path.read_bytes() == wrong


def test_what_a_killed_download_left_is_never_read(small, elsewhere):
    own = elsewhere / "cache" / FOLDER / ".unpacking-killed"
    own.mkdir(parents=True)
    for name in NAMES:
        (own / name).write_bytes(b"half")
    assert not cifar10_available()
    with server({"images.tar.gz": GOOD}) as (url, _):
        assert len(cifar10(base_url=url)) == 100


# With the right checksum: parsed strictly all the same.
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data_batch_4\.bin: 0 bytes; expected records of 3,073 bytes"),
        (records(3)[:-1], r"data_batch_4\.bin: 61,459 bytes; expected records of 3,073 bytes"),
        (b"\x0a" + records(3)[1:], r"data_batch_4\.bin: a label is 10; expected 0 to 9"),
        (b"\xff" + records(3)[1:], r"data_batch_4\.bin: a label is 255; expected 0 to 9"),
    ],
    ids=["empty", "one byte short", "label 10", "label 255"],
)
def test_contents_are_checked(content, message, monkeypatch, elsewhere):
    files = {**CONTENT, "data_batch_4.bin": content}
    pretend(monkeypatch, files)
    put(elsewhere / "cache", files)
    with pytest.raises(InputError, match=message) as error:
        cifar10(download=False)
    assert "\n" not in str(error.value)


def test_splits_are_named():
    with pytest.raises(InputError, match="split = 'validation': unknown; choose one of 'train', 'test'"):
        cifar10("validation")


# -- the real CIFAR-10 -------------------------------------------------------------------------------------------------


def test_the_published_files_are_named():
    assert [known.name for known in module.ARCHIVE.members] == NAMES
    assert {known.n_bytes for known in module.ARCHIVE.members} == {10_000 * 3073}
    assert len({known.md5 for known in module.ARCHIVE.members}) == len({k.sha256 for k in module.ARCHIVE.members}) == 6


@pytest.mark.data("cifar10")
def test_real_cifar10(monkeypatch):
    monkeypatch.undo()  # what hides the user's folders
    train, test = cifar10(download=False), cifar10("test", download=False)
    assert train.counts.tolist() == [5000] * 10
    assert test.counts.tolist() == [1000] * 10
    assert (train.x.shape, test.x.shape) == ((50000, 3072), (10000, 3072))
    assert (int(train.x.min()), int(train.x.max())) == (0, 255)
    assert train.y[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile
    # the published means of the channels
    means = train.x.reshape(-1, 3, 1024).mean((0, 2), dtype=np.float64) / 255
    assert means.round(4).tolist() == [0.4914, 0.4822, 0.4465]


@pytest.mark.data("cifar10")
def test_real_checksums(monkeypatch):
    monkeypatch.undo()
    from pfl_theory.datasets.download import local_path

    for file in module.ARCHIVE.members:
        content = local_path(FOLDER, file.name).read_bytes()
        found = [f(content).hexdigest() for f in (hashlib.md5, hashlib.sha256)]
        assert (len(content), *found) == (file.n_bytes, file.md5, file.sha256)
