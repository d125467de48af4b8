"""The classes of a federation as users of another: what label shift mixes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .federation import Federation


def by_class(fed: Federation) -> tuple[Federation, NDArray]:
    """The classes as users, each the law of the features of its rows in the mixture; and the label laws of the users.

    Returns
    -------
    classes : Federation
        User y is q_y; classes without mass are left out.
    laws : ndarray, shape (n, C)
        pi_i(y) for the classes that are there.

    Examples
    --------
    >>> fed = Federation.from_arrays([[[0.0], [1.0]], [[5.0]]], [[0, 0], [1]])
    >>> classes, laws = by_class(fed)
    >>> classes.sizes.tolist(), laws.tolist()
    ([2, 1], [[1.0, 0.0], [0.0, 1.0]])
    """
    if fed.y is None or fed.y.dtype.kind != "i":
        raise InputError(f"{fed.name} has no class labels; give integer y= to Federation.from_arrays")
    labels, codes = np.unique(fed.y, return_inverse=True)
    mass = np.bincount(codes, fed.weights)
    laws = np.stack(
        [np.bincount(codes[fed.rows(i)], fed.weights[fed.rows(i)], len(labels)) for i in range(fed.n_users)]
    )
    there = mass > 0
    order = np.argsort(codes, kind="stable")
    order = order[there[codes[order]]]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes)[there])])
    weights = (fed.weights / np.where(there, mass, 1.0)[codes])[order]
    info = {"classes": labels[there].tolist()}
    return Federation(
        fed.x[order], fed.y[order], weights, offsets, fed.scale, fed.law, f"classes of {fed.name}", info
    ), laws[:, there]
