"""Algorithm 1 (Per-FedAvg), line by line as transcribed in docs/theory/notation.md#1-2. Slow on purpose."""

from __future__ import annotations

import numpy as np

from .draws import HESSIAN, INNER, OUTER, batch, chosen_users
from .losses import users_of


def algorithm_1(
    twin,
    fed,
    w0,
    *,
    alpha,
    beta,
    tau,
    rounds,
    seed,
    participants,
    sizes=(None, None, None),
    replace=True,
    variant="exact",
    delta=1e-3,
):
    """Averages wbar_{k+1, t} at every local step, shape (K, tau + 1, d); the model after round k is [k, tau].

    `sizes` are D, D', D''; None takes the whole of the user's data with its weights. FedAvg is alpha = 0.
    """
    data = users_of(fed)
    w, history = np.array(w0, dtype=float), []
    for k in range(rounds):
        a_k = chosen_users(fed.n_users, participants, seed, k)
        iterates = np.empty((tau + 1, len(a_k), len(w)))
        for s, i in enumerate(a_k):
            x, y, weights = data[i]

            def drawn(t, which, k=k, i=i, x=x, y=y, weights=weights):
                size = sizes[which]
                if size is None:
                    return i, x, y, weights
                rows = batch(weights, size, seed=seed, round_=k, user=i, step=t, which=which, replace=replace)
                return i, x[rows], None if y is None else y[rows], np.full(size, 1 / size)

            iterates[0, s] = w
            for t in range(1, tau + 1):
                before = iterates[t - 1, s]
                d, d1, d2 = drawn(t - 1, INNER), drawn(t - 1, OUTER), drawn(t - 1, HESSIAN)
                adapted = before - alpha * twin.gradient(before, *d)
                v = twin.gradient(adapted, *d1)
                if variant == "exact":
                    product = twin.hessian(before, *d2) @ v
                elif variant == "hessian-free":
                    product = (twin.gradient(before + delta * v, *d2) - twin.gradient(before - delta * v, *d2)) / (
                        2 * delta
                    )
                else:
                    product = np.zeros_like(v)
                iterates[t, s] = before - beta * (v - alpha * product)
        history.append(iterates.mean(axis=1))
        w = history[-1][tau]
    return np.array(history)
