"""One round of FedAvg and of Per-FedAvg on the paper's networks: 10 users of its split, tau = 10, batches of 40 (three
a step where the algorithm takes three), float32, two threads; MNIST (784-80-60-10), CIFAR-10 (3072-80-60-10), ELU.

Contenders: ours; the matrix products of the plain algorithm alone, by the same BLAS, user by user on two threads; JAX
with jit, users side by side (vmap) and one after the other (lax.map), Hessian-vector products by forward over reverse;
PyTorch with autograd, one user after the other as public codes do, Hessian-vector products by differentiating twice.
Peers get the same batches, drawn beforehand, and are written as a user would write them: no Gram form, no sparse rows,
both of which could be given to them. Every peer's update is checked against ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pfl_theory as pfl
from pfl_theory.algorithms.local_steps import (
    BY_ROUNDING,
    EXACT,
    FIRST_ORDER,
    HESSIAN_FREE,
    PLAIN,
    LocalPlan,
    local_steps,
)
from pfl_theory.federations import paper_pair
from pfl_theory.kernels.jit import helper, kernel, n_threads, over_users
from pfl_theory.kernels.philox import draw, stream_key

from .alternate import alternate, report

ALPHA, BETA, TAU, BATCH, USERS, STEP = 0.01, 0.01, 10, 40, 10, 1e-2
VARIANTS = {"FedAvg": PLAIN, "first-order": FIRST_ORDER, "Hessian-free": HESSIAN_FREE, "exact": EXACT}
REST = 0.1  # seconds between contenders: peers' threads spin on
CLOSE = 1e-4  # of the largest update

# --- the products of the plain algorithm, alone ----------------------------------------------------------------------


@helper
def part(flat, start, rows, columns):  # type: ignore[no-untyped-def]
    """rows * columns numbers from flat[start], as a matrix."""
    return flat[start : start + rows * columns].reshape(rows, columns)


@helper
def gradient_products(sizes, x, w, h, e, g, along):  # type: ignore[no-untyped-def]
    """Products of a gradient, or of a Hessian-vector product where `along`."""
    n, most, last = x.shape[0], h.shape[0] // len(sizes), len(sizes) - 1
    at = 0
    for k in range(1, last + 1):
        i, o = sizes[k - 1], sizes[k]
        before, weights = x if k == 1 else part(h, (k - 1) * most, n, i), part(w, at, o, i)
        for _ in range((3 if k > 1 else 2) if along else 1):
            np.dot(before, weights.T, part(h, k * most, n, o))
        at += o * (i + 1)
    for k in range(last, 0, -1):
        i, o = sizes[k - 1], sizes[k]
        at -= o * (i + 1)
        before, error = x if k == 1 else part(h, (k - 1) * most, n, i), part(e, k * most, n, o)
        for _ in range(2 if along and k > 1 else 1):
            np.dot(error.T, before, part(g, at, o, i))
        if k > 1:
            for _ in range(3 if along else 1):
                np.dot(error, part(w, at, o, i), part(e, (k - 1) * most, n, i))


@kernel
def products(sizes, gradients, along, tau, x, w, h, e, g):  # type: ignore[no-untyped-def]
    """All products of a user's steps."""
    for t in range(tau):
        for k in range(gradients):
            gradient_products(sizes, x[t, min(k, x.shape[1] - 1)], w, h, e, g, False)
        if along:
            gradient_products(sizes, x[t, 2], w, h, e, g, True)


def products_alone(sizes: Any, variant: str, x: Any, w: Any) -> Callable[[], None]:
    """The products of a round, of the rows x[user, step, batch]."""
    gradients = {"FedAvg": 1, "first-order": 2, "Hessian-free": 4, "exact": 2}[variant]
    most = (len(sizes)) * BATCH * int(max(sizes[1:]))
    scratch = [(np.zeros(most, x.dtype), np.zeros(most, x.dtype), np.zeros_like(w)) for _ in range(len(x))]
    table = np.array(sizes)

    def one(k: int, first: int, last: int) -> None:
        products(table, gradients, variant == "exact", TAU, x[k], w, *scratch[k])

    return lambda: over_users(one, [(k, k + 1) for k in range(len(x))])


# --- batches ---------------------------------------------------------------------------------------------------------


@kernel
def draw_all(key, offsets, users, tau, size, coef, out):  # type: ignore[no-untyped-def]
    """The rows that local steps of round 0 draw: out[user, step, batch]."""
    order, nothing = np.arange(0), np.empty(0)
    for s in range(len(users)):
        i = users[s]
        for t in range(tau):
            for b in range(3):
                draw(key, 0, i, 3 * t + b, offsets[i], offsets[i + 1], nothing, size, True, order, out[s, t, b], coef)


# --- peers -----------------------------------------------------------------------------------------------------------


def jax_objective(point: Any, a: Any, labels: Any) -> Any:
    """Cross-entropy of an ELU network on rows `a`; `point`: (W, b) of every layer."""
    import jax
    import jax.numpy as jnp

    for W, b in point[:-1]:
        a = jax.nn.elu(a @ W.T + b)
    W, b = point[-1]
    return -jnp.take_along_axis(jax.nn.log_softmax(a @ W.T + b), labels[:, None], 1).mean()


def jax_rounds(loss: Any, w: Any, x: Any, y: Any, variant: str) -> dict[str, Callable[[], Any]]:
    """Both ways to run users, as callables that return the average."""
    import jax
    import jax.numpy as jnp

    layers = [(jnp.asarray(W), jnp.asarray(b)) for W, b in loss.split(w)]
    tree = jax.tree_util

    gradient = jax.grad(jax_objective)

    def moved(point: Any, scale: float, by: Any) -> Any:
        return tree.tree_map(lambda p, q: p + scale * q, point, by)

    def step(point: Any, batch: Any) -> Any:
        (a0, a1, a2), (y0, y1, y2) = batch
        if variant == "FedAvg":
            return moved(point, -BETA, gradient(point, a1, y1)), None
        v = gradient(moved(point, -ALPHA, gradient(point, a0, y0)), a1, y1)
        if variant == "Hessian-free":
            ahead, behind = gradient(moved(point, STEP, v), a2, y2), gradient(moved(point, -STEP, v), a2, y2)
            v = moved(v, -ALPHA / (2 * STEP), moved(ahead, -1.0, behind))
        elif variant == "exact":
            v = moved(v, -ALPHA, jax.jvp(lambda p: gradient(p, a2, y2), (point,), (v,))[1])
        return moved(point, -BETA, v), None

    def user(point: Any, a: Any, labels: Any) -> Any:
        return jax.lax.scan(step, point, (a, labels))[0]

    def mean(points: Any) -> Any:
        return tree.tree_map(lambda p: p.mean(0), points)

    ways = {
        "JAX vmap": jax.jit(lambda p, a, b: mean(jax.vmap(user, (None, 0, 0))(p, a, b))),
        "JAX lax.map": jax.jit(lambda p, a, b: mean(jax.lax.map(lambda ab: user(p, *ab), (a, b)))),
    }
    xs, ys = jnp.asarray(x), jnp.asarray(y)

    def run(way: Any) -> Any:
        found = jax.block_until_ready(way(layers, xs, ys))
        return np.concatenate([np.concatenate([np.asarray(W).ravel(), np.asarray(b)]) for W, b in found])

    return {name: (lambda way=way: run(way)) for name, way in ways.items()}  # type: ignore[misc]


def torch_round(loss: Any, w: Any, x: Any, y: Any, variant: str) -> Callable[[], Any]:
    """One user after the other, as a callable that returns the average."""
    import torch

    torch.set_num_threads(2)
    begin = [torch.from_numpy(part.copy()) for layer in loss.split(w) for part in layer]
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)

    def objective(point: Any, a: Any, labels: Any) -> Any:
        for k in range(0, len(point) - 2, 2):
            a = torch.nn.functional.elu(torch.nn.functional.linear(a, point[k], point[k + 1]))
        return torch.nn.functional.cross_entropy(torch.nn.functional.linear(a, point[-2], point[-1]), labels)

    def gradient(point: Any, a: Any, labels: Any, graph: bool = False) -> Any:
        return torch.autograd.grad(objective(point, a, labels), point, create_graph=graph)

    def moved(point: Any, scale: float, by: Any) -> Any:
        return [(p + scale * q).detach().requires_grad_() for p, q in zip(point, by, strict=True)]

    def user(k: int) -> Any:
        point = [p.clone().requires_grad_() for p in begin]
        for t in range(TAU):
            (a0, a1, a2), (y0, y1, y2) = xs[k, t], ys[k, t]
            if variant == "FedAvg":
                point = moved(point, -BETA, gradient(point, a1, y1))
                continue
            v = gradient(moved(point, -ALPHA, gradient(point, a0, y0)), a1, y1)
            if variant == "Hessian-free":
                ahead, behind = (gradient(moved(point, side * STEP, v), a2, y2) for side in (1, -1))
                v = [p - ALPHA * (q - r) / (2 * STEP) for p, q, r in zip(v, ahead, behind, strict=True)]
            elif variant == "exact":
                product = torch.autograd.grad(gradient(point, a2, y2, True), point, v)
                v = [p - ALPHA * q for p, q in zip(v, product, strict=True)]
            point = moved(point, -BETA, v)
        return torch.cat([p.detach().ravel() for p in point])

    return lambda: torch.stack([user(k) for k in range(USERS)]).mean(0).numpy()


# --- the measurement -------------------------------------------------------------------------------------------------


def measure(source: str, variant: str, repeats: int, peers: bool) -> dict[str, Any]:
    """One data set, one algorithm."""
    fed = paper_pair(source)[0]
    loss = pfl.losses.MLP(10)
    problem = pfl.Problem(loss, fed, "float32")
    w = loss.initial_weights(fed, weights="torch", biases="weights", seed=1).astype(np.float32)
    users = np.arange(0, fed.n_users, fed.n_users // USERS)
    three = 0 if variant == "FedAvg" else BATCH
    plan = LocalPlan(ALPHA, BETA, TAU, VARIANTS[variant], STEP, three, BATCH, three, 0)
    rows = np.empty((USERS, TAU, 3, BATCH), np.int64)
    draw_all(stream_key(0, "batches"), fed.offsets, users, TAU, BATCH, np.empty(BATCH, np.float32), rows)
    x, y = (fed.x[rows] * np.float32(fed.scale)).astype(np.float32), np.asarray(fed.y)[rows].astype(np.int64)

    def ours() -> Any:
        return local_steps(problem, users, w[None], plan, seed=0, round_=0)[0][0]

    def by_rule() -> Any:
        return local_steps(problem, users, w[None], plan._replace(delta=BY_ROUNDING), seed=0, round_=0)[0][0]

    contenders: dict[str, Callable[[], Any]] = {"ours": ours}
    if variant == "Hessian-free":
        contenders["ours, step by rounding"] = by_rule
    contenders["products as written, alone"] = products_alone(loss.sizes(fed.n_features), variant, x, w)
    others: dict[str, Callable[[], Any]] = {}
    if peers:
        others = {**jax_rounds(loss, w, x, y, variant), "PyTorch autograd": torch_round(loss, w, x, y, variant)}
    contenders |= others
    notes: dict[str, dict[str, Any]] = {}
    for name, call in contenders.items():
        began = time.perf_counter()
        found = call()
        notes[name] = {"first_call_s": time.perf_counter() - began}
        if name in others:
            first = ours()
            apart = float(np.abs(found - first).max() / np.abs(first - w).max())
            assert apart < CLOSE, (name, apart)
            notes[name]["apart"] = apart
    title = f"A round of {variant} on {source}, {USERS} users, tau = {TAU}, batches of {BATCH}, float32"
    facts = {"name": f"network_round-{source}-{variant}", "threads": n_threads(), "load_before": os.getloadavg()[0]}
    return report(title, alternate(contenders, repeats=repeats, warm=2, rest=REST), "ours", facts, notes)


def main(
    sources: tuple[str, ...] = ("mnist", "cifar10"), repeats: int = 9, peers: bool = True
) -> dict[str, dict[str, Any]]:
    """Measure every algorithm on both data sets, check that all agree, report."""
    return {f"{s} {v}": measure(s, v, repeats, peers) for s in sources for v in VARIANTS}
