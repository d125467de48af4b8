"""FedFomo, line by line as in docs/theory/relatives.md#10-1, and what public codes make of it. Slow on purpose.

Everybody weighs everybody that has uploaded: no epsilon-greedy here. `wrong` names one thing that differs.
"""

from __future__ import annotations

import numpy as np

from .draws import chosen_users

WRONG = {  # name -> what a public code does instead
    "models added": "theta + sum w theta_n",
    "two bases": "weights from the base, step from the trained model",
    "not normalised": "w = u",
    "not clipped": "w = u / |sum u|, losers kept",
    "sign": "the worse a model, the more it weighs",
    "no distance": "the loss decrease alone",
    "squared l2": "its square for the distance",
    "l1": "its l1 norm for the distance",
    "layers": "the sum of the norms of the layers",
    "trained base": "the base is the own trained model",
    "trained kept": "nobody helps: the trained model stays",
    "validation redrawn": "other rows every round, trained on before",
    "batch means": "the validation loss is a mean of means of batches, the last one small",
    "eps": "something added to the distance",
    "own left out": "the own trained model is no candidate",
    "initial models": "who never uploaded stands in with the initial model",
    "average too": "the average of all models is one more candidate",
    "softmax": "weights are exponentials",
    "uniform": "an average of all",
    "shifted": "weights of n users on the n - 1 others",
    "affinity clipped": "affinities never fall",
    "affinity divided": "affinities grow by u / |sum u|",
}


def fedfomo(
    twin,
    training,
    validation,
    w0,
    *,
    beta,
    steps,
    rounds,
    participants,
    seed=0,
    wrong=None,
    everything=None,
    layers=(1,),
    batch=3,
):
    """Models of all users after every round (rounds, n, d), and the last affinities.

    `training` and `validation` are lists of (i, x, y, weights), one a user; `everything` all rows of each.
    """
    n, d = len(training), len(w0)
    models, bases = [np.array(w0)] * n, [np.array(w0)] * n
    uploaded, affinity, history = [False] * n, 0.1 * np.eye(n), []
    for k in range(rounds):
        users = chosen_users(n, participants, seed, k)
        starts = list(models)
        for i in users:
            if not uploaded[i]:
                continue
            base = models[i] if wrong == "trained base" else bases[i]
            ids = [j for j in range(n) if uploaded[j] or wrong == "initial models"]
            if wrong == "own left out":
                ids.remove(i)
            candidates = [models[j] for j in ids]
            if wrong == "average too":
                candidates.append(np.mean(models, axis=0))
            data = validation[i]
            if wrong == "validation redrawn":
                data = _some(everything[i], len(validation[i][2]), k)

            def loss(w, data=data):
                return _batched(twin, w, data, batch) if wrong == "batch means" else twin.value(w, *data)

            u = []
            for w in candidates:
                gain, far = loss(base) - loss(w), _far(w - base, wrong, layers)
                gain = -gain if wrong == "sign" else gain
                u.append(0.0 if far == 0 else gain / far)
            raw = np.array(u)
            weight = _weights(raw, wrong)
            affinity[i, ids] += _rise(raw[: len(ids)], wrong)
            if wrong == "shifted":
                weight = np.roll(weight, 1)
            helped = bool(weight.any())
            origin = models[i] if wrong == "two bases" else base
            start = np.array(origin)
            for w, share in zip(candidates, weight, strict=True):
                start = start + share * (w if wrong == "models added" else w - base)
            starts[i] = models[i] if wrong == "trained kept" and not helped else start
        trained = {}
        for i in users:
            w = np.array(starts[i])
            for _ in range(steps):
                w = w - beta * twin.gradient(w, *training[i])
            trained[i] = w
        for i, w in trained.items():
            models[i], bases[i], uploaded[i] = w, starts[i], True
        history.append(np.array(models).reshape(n, d))
    return np.array(history), affinity


def _far(away, wrong, layers):
    if wrong == "no distance":
        return 1.0
    if wrong == "l1":
        return np.abs(away).sum()
    if wrong == "layers":
        return sum(np.linalg.norm(part) for part in np.split(away, layers))
    far = np.linalg.norm(away)
    return far**2 if wrong == "squared l2" else far + 0.05 * (wrong == "eps" and far > 0)


def _weights(raw, wrong):
    if wrong == "softmax":
        return np.exp(raw) / np.exp(raw).sum()
    if wrong == "uniform":
        return np.full(len(raw), 1 / len(raw))
    if wrong == "not clipped":
        return raw / abs(raw.sum())
    u = np.maximum(raw, 0)
    if wrong == "not normalised":
        return u
    return u / u.sum() if u.any() else u


def _rise(raw, wrong):
    if wrong == "affinity clipped":
        return np.maximum(raw, 0)
    return raw / abs(raw.sum()) if wrong == "affinity divided" else raw


def _some(rows, count, k):
    i, x, y, _ = rows
    pick = np.random.default_rng(k).permutation(len(x))[:count]
    return i, x[pick], y[pick], np.full(count, 1 / count)


def _batched(twin, w, data, size):
    i, x, y, _ = data
    means = [
        twin.value(w, i, x[k : k + size], y[k : k + size], np.full(len(x[k : k + size]), 1 / len(x[k : k + size])))
        for k in range(0, len(x), size)
    ]
    return np.mean(means)
