"""Sorted by label, cut in shards, shards dealt to users (McMahan et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ._labels import assembled
from ._making import stream, whole
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset


def shards(dataset: Dataset, *, n_users: int = 10, shards_per_user: int = 2, seed: int = 0) -> Federation:
    """Users with a few shards each of the data set sorted by label.

    The images, sorted by label and otherwise in the order of the data set, are cut into ``n_users * shards_per_user``
    shards of equal size (sizes differ by one where the number of images is no multiple), and every user is dealt
    `shards_per_user` of them at random. Every image is used once.

    Parameters
    ----------
    dataset : Dataset
    n_users : int
    shards_per_user : int
        Most users see about this many classes.
    seed : int
        Who gets which shards.

    Returns
    -------
    Federation

    Raises
    ------
    InputError
        More shards than images.

    Examples
    --------
    >>> from pfl_theory.datasets import digits
    >>> fed = shards(digits(), n_users=10, shards_per_user=2)
    >>> set(fed.sizes.tolist()), max(len(np.unique(user.labels)) for user in fed)
    ({420}, 2)
    """
    n, each = whole("n_users", n_users, 1), whole("shards_per_user", shards_per_user, 1)
    total = n * each
    require(
        total <= len(dataset),
        f"n_users = {n} times shards_per_user = {each} is {total:,} shards; {dataset.title} has {len(dataset):,} "
        "images; use fewer",
    )
    pieces = np.array_split(np.argsort(dataset.y, kind="stable"), total)
    # Within a user the shards stay in the order of the labels.
    hands = np.sort(stream(seed, "shards").permutation(total).reshape(n, each), axis=1)
    rows = [np.concatenate([pieces[k] for k in hand]) for hand in hands]
    info = {"split": "shards", "shards_per_user": each, "seed": int(seed)}
    return assembled(dataset, rows, f"{each} shards a user, n={n}", info)
