"""The price of a label that suits a loss: the metric for which L_Z W1 is smallest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..constants import Constant
from ..errors import require
from .problem import Problem


class BestKappa(NamedTuple):
    """The price of a label that gives the best L_Z W1, and the Lipschitz constants behind it."""

    kappa: float | None
    lip: Constant
    features: float
    label: float


def best_kappa(problem: Problem, *, radius: float | None = None, center: ArrayLike | None = None) -> BestKappa:
    """kappa* = J / L_x: the metric ||x - x'|| + kappa [y != y'] for which L_Z W1 is smallest [theory 8.4].

    L_x bounds the gradient's change with the features, J with the label; L_Z = max(L_x, J / kappa). W1 is concave and
    nondecreasing in kappa, so L_Z W1 falls up to kappa* and rises beyond.

    Parameters
    ----------
    problem : Problem
        From a loss and a federation.
    radius, center : float and (d,), optional
        Ball of w.

    Returns
    -------
    BestKappa
        ``kappa`` is None where the loss reads no labels: then the metric is ||x - x'||. ``lip`` is L_Z in that metric;
        not usable where there is none (the reason says what to give).

    Examples
    --------
    >>> import pfl_theory as pfl
    >>> fed = pfl.Federation.from_arrays([[[1.0, 0.0], [0.0, 1.0]]], [[0, 1]])
    >>> found = best_kappa(pfl.Problem(pfl.losses.Logistic(), fed), radius=0.0)
    >>> round(found.kappa, 5), round(found.features, 5), found.label
    (2.0, 0.5, 1.0)
    """
    place = {"radius": radius, "center": center}
    if not problem.loss.reads_labels:
        lip = problem.constants(**place)["lip_gradient_z"]  # type: ignore[arg-type]
        return BestKappa(None, lip, lip.max(), 0.0)
    require(
        problem.loss.classifies,
        f"best_kappa: {problem.loss.name} has real targets; the metric with kappa is for classes",
    )
    far, near = 2.0**60, 2.0**-60  # powers of two: J comes back exactly
    free = problem.constants(**place, metric="labelled", kappa=far)["lip_gradient_z"]  # type: ignore[arg-type]
    if not free.usable:
        return BestKappa(None, free, np.inf, np.inf)
    features = free.max()
    label = problem.constants(**place, metric="labelled", kappa=near)["lip_gradient_z"].max() * near  # type: ignore[arg-type]
    kappa = label / features
    return BestKappa(
        kappa, Constant.upper(free.values, f"L_x = J / kappa at kappa = {kappa:.6g}; {free.reason}"), features, label
    )
