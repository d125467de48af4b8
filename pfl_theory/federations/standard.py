"""The handwritten digits that analyses and claims use: the full MNIST where it lies on this machine, else the subset
that a dependency ships.
"""

from __future__ import annotations

from ..errors import one_of
from .federation import Federation
from .paper_split import paper_split_pair

SIZES = {"mnist": {"n_users": 50, "a_train": 196, "a_test": 34}, "digits": {"n_users": 10, "a_train": 60, "a_test": 12}}


def handwritten_source() -> str:
    """``mnist`` if the four files are on this machine (no network is tried), else ``digits``."""
    import importlib

    # the module, not the function of the same name that the package exports
    return "mnist" if importlib.import_module("pfl_theory.datasets.mnist").mnist_available() else "digits"


def handwritten_pair(source: str | None = None, *, seed: int = 0) -> tuple[Federation, Federation]:
    """Training and test federations of the paper's split: MNIST (n = 50, a = 196 and 34), or its shipped subset (n =
    10, a = 60 and 12).

    Parameters
    ----------
    source : {"mnist", "digits"}, optional
        Which images; :func:`handwritten_source` when absent.
    seed : int
        Which images each user gets.

    Examples
    --------
    >>> train, test = handwritten_pair("digits")
    >>> train.n_users, int(train.sizes.sum()), int(test.sizes.sum())
    (10, 2250, 450)
    """
    from .. import datasets

    source = source or handwritten_source()
    one_of("source", source, tuple(SIZES))
    load = getattr(datasets, source)
    train, test = ({"split": "train"}, {"split": "test"})
    if source == "mnist":
        train["download"] = test["download"] = False  # type: ignore[assignment]
    return paper_split_pair(load(**train), load(**test), **SIZES[source], seed=seed)
