"""MNIST handwritten digits (LeCun, Cortes, Burges 1998): 60,000 training and 10,000 test images, 28 x 28, ink up to 255
on 0.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, one_of, require
from .dataset import SPLITS, Dataset
from .download import KnownFile, local_path, mirrors_of, obtain

FOLDER = "mnist"
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
SHAPE = (28, 28)

# split -> (images, labels)
FILES = {
    "train": (
        KnownFile(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        KnownFile(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "d53e105ee54ea40749a09fcbcd1e9432",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
    ),
    "test": (
        KnownFile(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "9fb629c4189551a2d022fa330f9573f3",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        KnownFile(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "ec29112dd5afa0611ce80d1b7f02629c",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
}

# A header can promise any number of bytes; memory is reserved only up to this.
MAX_BYTES = 1 << 30


def mnist(split: str = "train", *, download: bool = True, base_url: str | Sequence[str] | None = None) -> Dataset:
    """MNIST, every file verified by checksum and parsed strictly.

    The files are looked for in ``PFL_THEORY_DATA/mnist``, then in the cache (``PFL_THEORY_CACHE/mnist``, else the
    user's own cache folder), then downloaded into the cache.

    Parameters
    ----------
    split : {"train", "test"}
        60,000 or 10,000 images.
    download : bool
        Whether absent files may be downloaded.
    base_url : str or sequence of str, optional
        Where to download from, instead of the known mirrors.

    Returns
    -------
    Dataset
        Name ``"MNIST"``, 784 pixels of 8 bits, classes 0 to 9.

    Raises
    ------
    DataMissingError
        A file is absent and may not, or could not, be downloaded.
    InputError
        A file is not the published one.

    Examples
    --------
    >>> from pfl_theory.datasets import mnist, mnist_available
    >>> not mnist_available() or mnist("test", download=False).x.shape == (10000, 784)
    True
    """
    one_of("split", split, SPLITS)
    mirrors = mirrors_of(base_url, MIRRORS)
    images, labels = (_array(known, mirrors, download) for known in FILES[split])
    require(
        images.ndim == 3 and images.shape[1:] == SHAPE,
        f"{FILES[split][0].name}: images of shape {images.shape}; expected (N, 28, 28)",
    )
    require(
        labels.shape == images.shape[:1],
        f"{FILES[split][1].name}: labels of shape {labels.shape} for {len(images):,} images; expected one an image",
    )
    require(
        int(labels.max(initial=0)) <= 9, f"{FILES[split][1].name}: a label is {labels.max(initial=0)}; expected 0 to 9"
    )
    source = (
        f"MNIST {split} images, idx files of yann.lecun.com/exdb/mnist with verified checksums, {len(images):,} images"
    )
    return Dataset(
        "MNIST",
        images.reshape(len(images), -1),
        labels.astype(np.int64),
        n_classes=10,
        shape=SHAPE,
        source=source,
        split=split,
    )


def mnist_available() -> bool:
    """Whether all four MNIST files lie on this machine. Uses no network and does not read them.

    Returns
    -------
    bool
        True where ``mnist(download=False)`` finds its files; they are verified when read.

    Examples
    --------
    >>> mnist_available() in (True, False)
    True
    """
    return all(local_path(FOLDER, known.name) is not None for pair in FILES.values() for known in pair)


def _array(known: KnownFile, mirrors: Sequence[str], download: bool) -> NDArray:
    content = obtain(FOLDER, known, mirrors=mirrors, download=download)
    with gzip.open(io.BytesIO(content)) as stream:
        return _parsed(stream, known.name)


def parse_idx(path: str | os.PathLike[str]) -> NDArray:
    """Read an idx file of unsigned bytes, gzipped (``.gz``) or plain.

    Parameters
    ----------
    path : path-like
        File to read.

    Returns
    -------
    ndarray of uint8
        Read-only, of the shape in the file's header.

    Raises
    ------
    InputError
        Not idx, another element type, more or fewer bytes than the header promises, a broken gzip stream, or an
        unreadable file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     n = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     parse_idx(path).tolist()
    [7, 2, 1]
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _parsed(stream, str(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected an idx file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected an idx file") from error


def _parsed(stream: IO[bytes] | gzip.GzipFile, name: str) -> NDArray:
    """An idx stream read to its end, which is also where gzip compares its CRC."""
    try:
        magic = stream.read(4)
        require(
            len(magic) == 4 and magic[:2] == b"\0\0",
            f"{name}: starts with {magic.hex() or 'nothing'}; expected the magic number of idx, 0000",
        )
        require(magic[2] == 8, f"{name}: element type 0x{magic[2]:02x}; expected 0x08, unsigned bytes")
        n_dims = magic[3]
        require(1 <= n_dims <= 4, f"{name}: {n_dims} dimensions; expected 1 to 4")
        header = stream.read(4 * n_dims)
        require(len(header) == 4 * n_dims, f"{name}: ends inside its header; expected {n_dims} dimensions of 4 bytes")
        shape = struct.unpack(f">{n_dims}I", header)
        count = 1
        for size in shape:  # Python integers: no overflow
            count *= size
        require(count <= MAX_BYTES, f"{name}: its header promises {count:,} bytes; expected at most {MAX_BYTES:,}")
        content = stream.read(count)
        require(
            len(content) == count,
            f"{name}: ends after {len(content):,} bytes of data; expected {count:,} for shape {shape}",
        )
        require(not stream.read(1), f"{name}: goes on after its data; expected {count:,} bytes for shape {shape}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name}: broken gzip stream ({error}); expected a whole idx file, gzipped") from error
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
