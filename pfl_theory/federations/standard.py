"""The users of the paper's experiments as analyses and claims ask for them, on whichever images; and which handwritten
digits those are: the full MNIST where it lies on this machine, else the subset that a dependency ships.
"""

from __future__ import annotations

from ..errors import one_of
from .federation import Federation
from .paper_split import paper_split_pair

# n and a of the paper where it used the images; a of the test images, on which it is silent, is the largest that fits
SIZES = {
    "mnist": {"n_users": 50, "a_train": 196, "a_test": 34},
    "cifar10": {"n_users": 50, "a_train": 68, "a_test": 36},
    "digits": {"n_users": 10, "a_train": 60, "a_test": 12},
}


def handwritten_source() -> str:
    """``mnist`` if the four files are on this machine (no network is tried), else ``digits``."""
    import importlib

    # the module, not the function of the same name that the package exports
    return "mnist" if importlib.import_module("pfl_theory.datasets.mnist").mnist_available() else "digits"


def paper_pair(
    source: str | None = None, *, second_half: str = "two classes", seed: int = 0
) -> tuple[Federation, Federation]:
    """Training and test federations of the paper's split: MNIST (n = 50, a = 196 and 34), CIFAR-10 (n = 50, a = 68 and
    36), or the shipped subset of MNIST (n = 10, a = 60 and 12). No network is tried.

    Parameters
    ----------
    source : {"mnist", "cifar10", "digits"}, optional
        Which images; :func:`handwritten_source` when absent.
    second_half : {"two classes", "one class"}
        As for :func:`~pfl_theory.federations.paper_split.paper_split`: ``"one class"`` is Table 1's "different
        heterogeneity".
    seed : int
        Which images each user gets.

    Examples
    --------
    >>> train, test = paper_pair("digits")
    >>> train.n_users, int(train.sizes.sum()), int(test.sizes.sum())
    (10, 2250, 450)
    """
    from ..datasets import local

    source = source or handwritten_source()
    one_of("source", source, tuple(SIZES))
    return paper_split_pair(
        local(source, "train"), local(source, "test"), **SIZES[source], second_half=second_half, seed=seed
    )
