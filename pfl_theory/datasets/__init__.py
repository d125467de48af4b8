"""Real data sets: found on this machine or downloaded, verified, never unpickled. One file a data set.

Importing this package imports NumPy only; the readers import what else they need.
"""

from __future__ import annotations

from .cifar10 import cifar10, cifar10_available
from .dataset import Dataset
from .digits import digits
from .femnist import femnist, femnist_available
from .mnist import mnist, mnist_available

__all__ = [
    "Dataset",
    "cifar10",
    "cifar10_available",
    "digits",
    "femnist",
    "femnist_available",
    "mnist",
    "mnist_available",
]
