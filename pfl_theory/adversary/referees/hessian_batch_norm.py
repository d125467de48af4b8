"""Hessians of a batch: sigma_H^2 c_D'' for a fixed vector; sigma_H^2 / D'' in operator norm is refuted."""

from __future__ import annotations

from typing import Any

from ..mathematics.batches import batches, factor
from ..real import ONE, ZERO, average, eigenvalues, minus, mp, operator_norm, reals
from ..ruling import Pair, Ruling, refused

KINDS = ("hessians",)


def rule(version: str, form: str, instance: Any) -> Ruling:
    """Both sides by every batch; the largest eigenvalue of E N^2, or E ||N||^2."""
    data, algorithm = getattr(instance, "data", None), instance.algorithm
    if data is None:
        return refused("the Hessians are not given datum by datum")
    if type(algorithm).__name__ != "PerFedAvg" or algorithm.variant != "exact":
        return refused("not exact Per-FedAvg")
    every = [[reals(row) for row in matrix] for matrix in data.matrices]
    m, d, size = len(every), len(every[0]), algorithm.batch_hessian
    if not algorithm.replace and (size or 0) > m:
        return refused("a batch larger than the data, without replacement")
    mean = [[mp.fsum(a[i][j] for a in every) / m for j in range(d)] for i in range(d)]
    away = [[minus(a[i], mean[i]) for i in range(d)] for a in every]
    sigma2 = average(operator_norm(a) ** 2 for a in away)
    square, whole = [[ZERO] * d for _ in range(d)], ZERO
    for p, shares in batches(size, [ONE / m] * m, replace=algorithm.replace):
        n = [[mp.fsum(s * away[k][i][j] for k, s in shares) for j in range(d)] for i in range(d)]
        whole += p * operator_norm(n) ** 2
        for i in range(d):
            for j in range(d):
                square[i][j] += p * mp.fsum(n[i][k] * n[k][j] for k in range(d))
    if version == "paper":
        return Ruling(True, pairs=[Pair(whole, sigma2 * factor(size, m, replace=True))])
    return Ruling(True, pairs=[Pair(eigenvalues(square)[-1], sigma2 * factor(size, m, replace=algorithm.replace))])
