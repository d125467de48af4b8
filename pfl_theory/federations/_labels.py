"""What the label splits share: the images of each class in a seeded order, and a federation from lists of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ._making import stream
from .federation import Federation

if TYPE_CHECKING:
    from ..datasets import Dataset


def shuffled_classes(dataset: Dataset, seed: int, purpose: str) -> list[NDArray]:
    """Rows of each class, each class permuted by its own stream."""
    return [stream(seed, purpose, c).permutation(np.flatnonzero(dataset.y == c)) for c in range(dataset.n_classes)]


def dealt(classes: Sequence[NDArray], counts: NDArray) -> list[NDArray]:
    """Rows of each user when user i takes ``counts[i, c]`` rows of class c, users in order; no row goes to two users.

    The caller has checked that no class runs out.
    """
    ends = np.cumsum(counts, axis=0)
    starts = ends - counts
    return [
        np.concatenate([rows[starts[i, c] : ends[i, c]] for c, rows in enumerate(classes)]) for i in range(len(counts))
    ]


def check_enough(dataset: Dataset, needed: NDArray, advice: str) -> None:
    """Refuse when a class has fewer images than `needed`; the message names the class that lacks most."""
    lacking = needed - dataset.counts
    c = int(np.argmax(lacking))
    require(
        lacking[c] <= 0,
        f"class {c} runs out: {needed[c]:,} images needed, {dataset.title} has {dataset.counts[c]:,}; {advice}",
    )


def assembled(dataset: Dataset, rows: Sequence[NDArray], name: str, info: dict[str, Any]) -> Federation:
    """The federation whose user i has these rows of the data set, equally weighted: a sample of the user's law."""
    sizes = np.array([len(r) for r in rows])
    taken = np.concatenate(rows)
    facts = {**info, "dataset": dataset.name, "dataset_split": dataset.split}
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Federation(
        dataset.x[taken],
        dataset.y[taken],
        np.repeat(1.0 / sizes, sizes),
        offsets,
        scale=dataset.scale,
        law="sample",
        name=f"{dataset.title}, {name}",
        info=facts,
    )
