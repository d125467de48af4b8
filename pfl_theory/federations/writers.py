"""Real users: each is the person who wrote the characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ._labels import assembled
from ._making import stream, whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset

N_DIGITS = 10


def writers(
    dataset: Dataset, *, n_users: int | None = None, min_size: int = 20, digits_only: bool = False, seed: int = 0
) -> Federation:
    """One user per writer, with all of that writer's images, in the order of the data set's ``group_names``.

    Parameters
    ----------
    dataset : Dataset
        With `groups`, such as ``femnist()``.
    n_users : int, optional
        So many of the writers with enough images, chosen at random; those of a smaller `n_users` are among those of a
        larger one. All when absent.
    min_size : int
        Writers with fewer images are dropped.
    digits_only : bool
        Keep the classes 0 to 9 only, before writers are dropped: the classes of MNIST.
    seed : int
        Which writers are chosen.

    Returns
    -------
    Federation
        ``info["users"]`` names the writers, ``info["dropped"]`` maps each dropped writer to its number of images.

    Raises
    ------
    InputError
        The data set does not know its writers, or fewer than `n_users` of them have `min_size` images.

    Examples
    --------
    >>> from pfl_theory.datasets import Dataset
    >>> notes = Dataset("notes", np.zeros((6, 4), np.uint8), np.array([0, 1, 2, 0, 1, 0]), n_classes=3, shape=(2, 2),
    ...                 groups=np.array([0, 1, 0, 2, 0, 2]), group_names=("ann", "bob", "cyd"))
    >>> fed = writers(notes, min_size=2)
    >>> fed.info["users"], fed.sizes.tolist(), fed.info["dropped"]
    (['ann', 'cyd'], [3, 2], {'bob': 1})
    """
    return _federations([dataset], [whole("min_size", min_size, 1)], n_users, digits_only, seed)[0]


def writers_pair(
    train: Dataset,
    test: Dataset,
    *,
    n_users: int | None = None,
    min_size: int = 20,
    min_test: int = 1,
    digits_only: bool = False,
    seed: int = 0,
) -> tuple[Federation, Federation]:
    """Training and test federation of the same writers in the same order.

    Parameters
    ----------
    train, test : Dataset
        Two splits of one data set, with the same ``group_names``.
    n_users, digits_only, seed
        As for :func:`writers`.
    min_size, min_test : int
        A writer with fewer images in `train`, or in `test`, is dropped from both.

    Returns
    -------
    tuple of Federation
        User i of either is the same writer; ``info["dropped"]`` counts the images of that split.

    Raises
    ------
    InputError
        As :func:`writers`, or the two data sets have other writers.

    Examples
    --------
    >>> from pfl_theory.datasets import femnist, femnist_available
    >>> if femnist_available():
    ...     train, test = writers_pair(femnist("train"), femnist("test"), n_users=20, digits_only=True)
    ...     assert train.info["users"] == test.info["users"]
    """
    require(
        train.group_names == test.group_names,
        f"{train.title} and {test.title} name other writers ({len(train.group_names)} and {len(test.group_names)}); "
        "give two splits of one data set",
    )
    least = [whole("min_size", min_size, 1), whole("min_test", min_test, 1)]
    first, second = _federations([train, test], least, n_users, digits_only, seed)
    return first, second


def _federations(
    datasets: Sequence[Dataset], least: Sequence[int], n_users: int | None, digits_only: bool, seed: int
) -> list[Federation]:
    """A federation a data set, all of the writers who have enough images in each."""
    n = None if n_users is None else whole("n_users", n_users, 1)
    rows = [_rows_of_writers(dataset, digits_only) for dataset in datasets]
    sizes = [np.array([len(r) for r in part]) for part in rows]
    enough = np.logical_and.reduce([size >= low for size, low in zip(sizes, least, strict=True)])
    able = np.flatnonzero(enough)
    what = "digits" if digits_only else "images"
    have = " and ".join(f"{low} {what} in {dataset.title}" for dataset, low in zip(datasets, least, strict=True))
    require(len(able) > 0, f"none of {len(enough)} writers has at least {have}; ask for fewer {what}")
    require(
        n is None or n <= len(able),
        f"n_users = {n}: {len(able)} writers have at least {have}; use at most {len(able)}, or ask for fewer {what}",
    )
    chosen = np.sort(stream(seed, "writers").permutation(able)[:n])
    names = datasets[0].group_names
    return [
        assembled(
            dataset,
            [part[i] for i in chosen],
            f"real writers{', digits' if digits_only else ''}, n={len(chosen)}",
            {
                "split": "writers",
                "users": [names[i] for i in chosen],
                "min_size": low,
                "dropped": {names[i]: int(size[i]) for i in np.flatnonzero(~enough)},
                "digits_only": bool(digits_only),
                "seed": int(seed),
            },
        )
        for dataset, part, size, low in zip(datasets, rows, sizes, least, strict=True)
    ]


def _rows_of_writers(dataset: Dataset, digits_only: bool) -> list[NDArray]:
    """Rows of each named writer, in the order of the data set; a writer without an image has none."""
    groups = dataset.groups
    require(
        groups is not None,
        f"{dataset.title} does not say who wrote each image; use femnist(), or give the Dataset groups= and "
        "group_names=",
    )
    assert groups is not None
    rows = np.flatnonzero(dataset.y < N_DIGITS) if digits_only else np.arange(len(dataset))
    rows = rows[np.argsort(groups[rows], kind="stable")]
    return np.split(rows, np.cumsum(np.bincount(groups[rows], minlength=len(dataset.group_names)))[:-1])
