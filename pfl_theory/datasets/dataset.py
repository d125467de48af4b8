"""Labelled images as they came: 8-bit pixels, integer classes, and one line that says where they were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import require

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled data set. The value of a feature is ``x * scale``; no intercept is added.

    Parameters
    ----------
    name : str
        Stands in titles and tables, e.g. ``"MNIST"``.
    x : ndarray of uint8, shape (N, p)
        One image a row, row by row of the image; of an image in colours one plane after the other.
    y : ndarray of int64, shape (N,)
        Classes 0 to ``n_classes - 1``.
    n_classes : int
        Number of classes of the data set, also of those without an image here.
    shape : tuple of int
        Shape of an image; its product is p.
    scale : float
        Factor from stored to real features (1/255 for 8-bit pixels).
    source : str
        One line: where it was found, how many images.
    split : {"train", "test"}
        Which part of the data set this is.
    groups : ndarray of int64, shape (N,), optional
        Who each image is from (its writer), where that is known: an index into `group_names`.
    group_names : tuple of str
        Names of the groups, also of those without an image here.

    Raises
    ------
    InputError
        Lengths, types, classes or groups that do not fit.

    Examples
    --------
    >>> tiny = Dataset("tiny", np.zeros((3, 4), np.uint8), np.array([0, 1, 1]), n_classes=2, shape=(2, 2))
    >>> len(tiny), tiny.counts.tolist(), tiny.title
    (3, [1, 2], 'tiny')
    """

    name: str
    x: NDArray
    y: NDArray
    n_classes: int
    shape: tuple[int, ...]
    scale: float = 1.0 / 255.0
    source: str = "arrays"
    split: str = "train"
    groups: NDArray | None = None
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        x, y = np.ascontiguousarray(self.x), np.ascontiguousarray(self.y)
        require(
            x.ndim == 2 and x.dtype == np.uint8,
            f"Dataset {self.name}: x is {x.dtype} of shape {x.shape}; give uint8 of shape (N, p)",
        )
        require(len(x) > 0, f"Dataset {self.name}: no images; give at least one")
        require(
            y.dtype.kind in "ui" and y.shape == (len(x),),
            f"Dataset {self.name}: {len(x)} images but labels {y.dtype} of shape {y.shape}",
        )
        low, high = int(y.min()), int(y.max())
        require(
            low >= 0 and high < self.n_classes,
            f"Dataset {self.name}: labels run from {low} to {high}; must be 0 to {self.n_classes - 1}",
        )
        require(
            int(np.prod(self.shape)) == x.shape[1],
            f"Dataset {self.name}: images of shape {self.shape} but rows of {x.shape[1]} pixels",
        )
        require(
            self.split in SPLITS,
            f"Dataset {self.name}: split = {self.split!r}; choose one of {', '.join(map(repr, SPLITS))}",
        )
        # Views, so that freezing them does not freeze the caller's own arrays.
        x, y = x.view(), y.astype(np.int64).view()
        x.flags.writeable = y.flags.writeable = False
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "shape", tuple(int(s) for s in self.shape))
        object.__setattr__(self, "group_names", tuple(self.group_names))
        if self.groups is not None:
            object.__setattr__(self, "groups", self._checked_groups(np.asarray(self.groups)))

    def _checked_groups(self, groups: NDArray) -> NDArray:
        """A frozen copy of the groups, which fit images and names."""
        names, n = self.group_names, len(self.group_names)
        require(
            groups.dtype.kind in "ui" and groups.shape == (len(self.x),),
            f"Dataset {self.name}: {len(self.x)} images but groups {groups.dtype} of shape {groups.shape}",
        )
        low, high = int(groups.min()), int(groups.max())
        require(
            low >= 0 and high < n,
            f"Dataset {self.name}: groups run from {low} to {high} but there are {n} group_names; give one a group",
        )
        require(
            all(isinstance(name, str) for name in names) and len(set(names)) == n,
            f"Dataset {self.name}: group_names must be {n} different strings",
        )
        groups = groups.astype(np.int64)
        groups.flags.writeable = False
        return groups

    def __len__(self) -> int:
        return len(self.x)

    @property
    def counts(self) -> NDArray:
        """Images per class, shape (n_classes,)."""
        return np.bincount(self.y, minlength=self.n_classes)

    @property
    def title(self) -> str:
        """Name, and the split unless it is the training one."""
        return self.name if self.split == "train" else f"{self.name} {self.split}"
