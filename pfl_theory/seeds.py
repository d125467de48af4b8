"""Random generators named by what they are for: the same name gives the same numbers, whatever was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np

from .errors import require


def checked_seed(seed: int) -> int:
    """A root seed, refused unless an integer >= 0."""
    require(isinstance(seed, (int, np.integer)) and seed >= 0, f"seed = {seed!r}; must be an integer >= 0")
    return int(seed)


def generator(seed: int, *name: object) -> np.random.Generator:
    """A NumPy generator for `name` under the root `seed`.

    Examples
    --------
    >>> a, b = generator(0, "points", 1), generator(0, "points", 1)
    >>> bool(a.normal() == b.normal())
    True
    """
    root = checked_seed(seed)
    text = "|".join(repr(part) for part in name)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence(root, spawn_key=tuple(int(w) for w in words)))
