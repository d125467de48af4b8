"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images in colours, 32 x 32, in its binary form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import one_of, require
from .dataset import SPLITS, Dataset
from .download import Archive, KnownFile, local_path, mirrors_of, obtain

FOLDER = "cifar-10-batches-bin"
MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
SHAPE = (3, 32, 32)  # planes red, green, blue, each row by row
N_CLASSES = 10  # airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck
RECORD = 1 + 3 * 32 * 32  # a label, then the image

BATCH_BYTES = 10_000 * RECORD
FILES = {
    "train": (
        KnownFile(
            "data_batch_1.bin",
            BATCH_BYTES,
            "5dd7e06a14cb22eb9f671a540d1b7c25",
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        ),
        KnownFile(
            "data_batch_2.bin",
            BATCH_BYTES,
            "5ea93a67294ea407fff1d09f752e9692",
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        ),
        KnownFile(
            "data_batch_3.bin",
            BATCH_BYTES,
            "942cd6a4bcdd0dd3c604fbe906cb4421",
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        ),
        KnownFile(
            "data_batch_4.bin",
            BATCH_BYTES,
            "ae636b3ba5c66a11e91e8cb52e771fcb",
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        ),
        KnownFile(
            "data_batch_5.bin",
            BATCH_BYTES,
            "53f37980c15c3d472c316c40844f3f0d",
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
    ),
    "test": (
        KnownFile(
            "test_batch.bin",
            BATCH_BYTES,
            "803d5f7f4d78ea53de84dbe85f74fb6d",
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
    ),
}
ARCHIVE = Archive(
    KnownFile(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "c32a1d4ab5d03f1284b67883e8d87530",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    FOLDER,
    FILES["train"] + FILES["test"],
)


def cifar10(split: str = "train", *, download: bool = True, base_url: str | Sequence[str] | None = None) -> Dataset:
    """CIFAR-10, every file verified by checksum and parsed strictly.

    The files of the binary version (the other one is pickled) are looked for in
    ``PFL_THEORY_DATA/cifar-10-batches-bin``, then in the cache (``PFL_THEORY_CACHE/cifar-10-batches-bin``, else the
    user's own cache folder), then unpacked into the cache from the archive of 162 MiB, which is downloaded for it.

    Parameters
    ----------
    split : {"train", "test"}
        50,000 or 10,000 images.
    download : bool
        Whether the archive may be downloaded where files are absent.
    base_url : str or sequence of str, optional
        Where to download from, instead of the authors' page.

    Returns
    -------
    Dataset
        Name ``"CIFAR-10"``, 3,072 pixels of 8 bits: 1,024 red, 1,024 green, 1,024 blue, each plane row by row. Classes
        0 to 9: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Raises
    ------
    DataMissingError
        A file is absent and may not, or could not, be downloaded.
    InputError
        A file, or the archive, is not the published one.

    Examples
    --------
    >>> from pfl_theory.datasets import cifar10, cifar10_available
    >>> not cifar10_available() or cifar10("test", download=False).x.shape == (10000, 3072)
    True
    """
    one_of("split", split, SPLITS)
    mirrors = mirrors_of(base_url, MIRRORS)
    # file by file into the array that stays: the training set is 150 MB, and never lies in memory twice
    images = np.empty((sum(known.n_bytes // RECORD for known in FILES[split]), RECORD - 1), np.uint8)
    labels = np.empty(len(images), np.int64)
    begin = 0
    for known in FILES[split]:
        content = obtain(FOLDER, known, mirrors=mirrors, download=download, archive=ARCHIVE)
        records = _parsed(content, known.name)
        end = begin + len(records)
        images[begin:end], labels[begin:end] = records[:, 1:], records[:, 0]
        begin = end
    source = f"CIFAR-10 {split} images, binary version with verified checksums, {len(images):,} images"
    return Dataset("CIFAR-10", images, labels, n_classes=N_CLASSES, shape=SHAPE, source=source, split=split)


def cifar10_available() -> bool:
    """Whether all six CIFAR-10 files lie on this machine. Uses no network and does not read them.

    Returns
    -------
    bool
        True where ``cifar10(download=False)`` finds its files; they are verified when read.

    Examples
    --------
    >>> cifar10_available() in (True, False)
    True
    """
    return all(local_path(FOLDER, known.name) is not None for known in ARCHIVE.members)


def _parsed(content: bytes, name: str) -> NDArray:
    """The records of a file, shape (N, 3073): the label, then the image."""
    require(
        len(content) > 0 and len(content) % RECORD == 0,
        f"{name}: {len(content):,} bytes; expected records of {RECORD:,} bytes, a label and 3 x 32 x 32 pixels",
    )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    top = int(records[:, 0].max())
    require(top < N_CLASSES, f"{name}: a label is {top}; expected 0 to {N_CLASSES - 1}")
    return records
