"""One round of FedFomo on MNIST beside its local training alone: 15 clients of 4,000 images, a fifth held out for
validation; 5 local epochs in batches of 50, 5 models a client weighs, its own included; 784-80-60-10 with ELU, float32,
two threads.

Contenders: the round; its local training alone, by our route and by the one of any loss; the same in JAX with jit,
users side by side (vmap) and one after the other (lax.map), over the same batches in the same order. JAX is written as
a user would write it: images as float32 on the device, rows gathered inside by their indices, one scan over the
batches. Every end point is checked against ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pfl_theory as pfl
from pfl_theory.algorithms.algorithm import State
from pfl_theory.algorithms.local_steps import epochs, local_steps
from pfl_theory.kernels.jit import kernel, n_threads
from pfl_theory.kernels.philox import shuffle, stream_key

from .alternate import alternate, report
from .network_round import REST, jax_objective

BETA, EPOCHS, BATCH, USERS, SIZE, MODELS = 0.01, 5, 50, 15, 4000, 5
ROUND = 2  # in the first one there is nothing to download yet
CLOSE = 1e-3  # of the largest move, after 320 steps in single precision


@kernel
def shuffled(key, round_, epochs, order):  # type: ignore[no-untyped-def]
    """order[user, epoch]: a user's rows, counted from its first one, as local steps take them."""
    for i in range(order.shape[0]):
        for epoch in range(epochs):
            if epoch > 0:
                order[i, epoch] = order[i, epoch - 1]
            shuffle(key, round_, i, epoch, order.shape[2], order[i, epoch])


def clients() -> Any:
    """Clients of the same number of images each, classes as they come."""
    data = pfl.datasets.mnist()
    drawn = np.random.default_rng(0).permutation(len(data.x))[: USERS * SIZE].reshape(USERS, SIZE)
    return pfl.Federation.from_arrays([data.x[some] for some in drawn], [data.y[some] for some in drawn], scale=1 / 255)


def jax_training(loss: Any, starts: Any, x: Any, y: Any, order: Any) -> dict[str, Callable[[], Any]]:
    """Both ways to run users, as callables that return all end points; x (n, m, p), batches order (n, steps, size)."""
    import jax
    import jax.numpy as jnp

    def user(point: Any, images: Any, labels: Any, batches: Any) -> Any:
        def step(point: Any, rows: Any) -> Any:
            gradient = jax.grad(jax_objective)(point, images[rows], labels[rows])
            return jax.tree_util.tree_map(lambda p, g: p - BETA * g, point, gradient), None

        return jax.lax.scan(step, point, batches)[0]

    each = [loss.split(w) for w in starts]
    points = [tuple(jnp.asarray(np.stack([w[k][part] for w in each])) for part in (0, 1)) for k in range(len(each[0]))]
    data = (jnp.asarray(x), jnp.asarray(y), jnp.asarray(order))
    ways = {
        "local training, JAX vmap": jax.jit(jax.vmap(user)),
        "local training, JAX lax.map": jax.jit(lambda *users: jax.lax.map(lambda one: user(*one), users)),
    }

    def run(way: Any) -> Any:
        found = jax.block_until_ready(way(points, *data))
        flat = [np.asarray(part).reshape(len(starts), -1) for layer in found for part in layer]
        return np.concatenate(flat, axis=1)

    return {name: (lambda way=way: run(way)) for name, way in ways.items()}  # type: ignore[misc]


def main(repeats: int = 9, peers: bool = True) -> dict[str, Any]:
    """Measure, check that all agree, report."""
    fed, loss = clients(), pfl.losses.MLP(10)
    problem = pfl.Problem(loss, fed, "float32")
    w = loss.initial_weights(fed, weights="torch", biases="weights", seed=1).astype(np.float32)
    fomo = pfl.FedFomo(beta=BETA, batch=BATCH, local_epochs=EPOCHS, models=MODELS)
    splits = fomo.prepare(problem)
    state: Any = fomo.init(splits, w)
    for k in range(ROUND):
        state = fomo.round(splits, state, seed=0, round_=k).state
    own, alone = state.w_users, pfl.LocalTraining(beta=BETA, batch=BATCH, local_epochs=EPOCHS)
    train, users = splits.train, np.arange(USERS)
    before = State(own.mean(0), own)
    call: dict[str, Any] = {"seed": 0, "round_": ROUND, "trace": False, "keep": True}

    def by_rows() -> Any:
        return epochs.steps(train.oracle, users, own, fomo.plan, **call)[1]

    m = int(train.federation.sizes[0])
    order = np.tile(np.arange(m), (USERS, EPOCHS, 1))
    shuffled(stream_key(0, "epochs"), ROUND, EPOCHS, order)
    x = (train.federation.x * np.float32(fed.scale)).astype(np.float32).reshape(USERS, m, -1)
    y = np.asarray(train.federation.y).astype(np.int64).reshape(USERS, m)
    others: dict[str, Callable[[], Any]] = {"local training, route of any loss": by_rows}
    if peers:
        others |= jax_training(loss, own, x, y, order.reshape(USERS, -1, BATCH))
    contenders: dict[str, Callable[[], Any]] = {
        "local training": lambda: alone.round(train, before, seed=0, round_=ROUND).state.w_users,
        "FedFomo round": lambda: fomo.round(splits, state, seed=0, round_=ROUND),
        **others,
    }
    ours = local_steps(train, users, own, fomo.plan, **call)[1]
    notes: dict[str, dict[str, Any]] = {}
    for name, contender in contenders.items():
        began = time.perf_counter()
        found = contender()
        notes[name] = {"first_call_s": time.perf_counter() - began}
        if name != "FedFomo round":
            apart = float(np.abs(found - ours).max() / np.abs(ours - own).max())
            assert apart < CLOSE, (name, apart)
            notes[name]["apart"] = apart
    title = f"A round of FedFomo on MNIST, {USERS} clients, {EPOCHS} epochs of {m} images, batches of {BATCH}, float32"
    facts = {"name": "fedfomo_round", "threads": n_threads(), "load_before": os.getloadavg()[0]}
    return report(title, alternate(contenders, repeats=repeats, rest=REST), "local training", facts, notes)
