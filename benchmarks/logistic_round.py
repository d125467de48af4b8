"""One round of Per-FedAvg (exact) on 100,000 users x 20 rows x d = 50, logistic regression, full participation, tau =
5, exact expectations, float64.

Contenders: ours (Gram steps, Gram matrices kept), one pass over the data (the floor: every number read once, summed),
NumPy in chunks, JAX with jit, vmapped over all users and mapped over chunks of them, written as a user would: analytic
products, no Gram form.
"""

from __future__ import annotations

import resource
from typing import Any

import numpy as np

import pfl_theory as pfl
from pfl_theory.algorithms.algorithm import State
from pfl_theory.kernels.jit import chunks, kernel, over_users

from .alternate import alternate, report

ALPHA, BETA, TAU, ROWS, DIM = 0.1, 0.1, 5, 20, 50


@kernel
def read(x, first, last, out):  # type: ignore[no-untyped-def]
    """Add up rows first .. last with eight running sums."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for i in range(first, last):
        row = x[i]
        for b in range(len(row) // 8):
            j = 8 * b
            s0 += row[j]
            s1 += row[j + 1]
            s2 += row[j + 2]
            s3 += row[j + 3]
            s4 += row[j + 4]
            s5 += row[j + 5]
            s6 += row[j + 6]
            s7 += row[j + 7]
    out[0] = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7


def federation(n_users: int) -> pfl.Federation:
    """Gaussian features, labels of a noisy rule."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_users * ROWS, DIM))
    y = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(np.int64)
    return pfl.Federation(x, y, np.full(len(x), 1 / ROWS), np.arange(n_users + 1) * ROWS)


def numpy_round(x: Any, y: Any, w: Any, size: int = 2000) -> Any:
    """Batched matrix products over chunks of users."""
    total = np.zeros(DIM)

    def gradient(a: Any, b: Any, v: Any) -> Any:
        return np.matmul((1 / (1 + np.exp(-np.matmul(a, v[:, :, None])[:, :, 0])) - b)[:, None, :], a)[:, 0] / ROWS

    for lo in range(0, len(x), size):
        a, b = x[lo : lo + size], y[lo : lo + size]
        v = np.broadcast_to(w, (len(a), DIM))
        for _ in range(TAU):
            g = gradient(a, b, v - ALPHA * gradient(a, b, v))
            s = 1 / (1 + np.exp(-np.matmul(a, v[:, :, None])[:, :, 0]))
            h = np.matmul((s * (1 - s) * np.matmul(a, g[:, :, None])[:, :, 0])[:, None, :], a)[:, 0] / ROWS
            v = v - BETA * (g - ALPHA * h)
        total += v.sum(0)
    return total / len(x)


def jax_rounds(x: Any, y: Any, size: int = 2000) -> dict[str, Any]:
    """The two JAX contenders as callables of w."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def gradient(a: Any, b: Any, v: Any) -> Any:
        return (jax.nn.sigmoid(a @ v) - b) @ a / ROWS

    def user(a: Any, b: Any, w: Any) -> Any:
        def step(v: Any, _: Any) -> Any:
            g = gradient(a, b, v - ALPHA * gradient(a, b, v))
            s = jax.nn.sigmoid(a @ v)
            return v - BETA * (g - ALPHA * ((s * (1 - s) * (a @ g)) @ a / ROWS)), None

        return jax.lax.scan(step, w, None, length=TAU)[0]

    everyone = jax.jit(lambda a, b, w: jax.vmap(user, (0, 0, None))(a, b, w).mean(0))

    def chunked(a: Any, b: Any, w: Any) -> Any:
        a, b = a.reshape(-1, size, ROWS, DIM), b.reshape(-1, size, ROWS)
        return jax.lax.map(lambda ab: jax.vmap(user, (0, 0, None))(*ab, w).sum(0), (a, b)).sum(0) / (len(a) * size)

    in_chunks = jax.jit(chunked)
    xs, ys = jnp.asarray(x), jnp.asarray(y, dtype=jnp.float64)
    return {
        "JAX vmap": lambda w: np.asarray(everyone(xs, ys, w).block_until_ready()),
        "JAX chunked": lambda w: np.asarray(in_chunks(xs, ys, w).block_until_ready()),
    }


def main(n_users: int = 100_000, repeats: int = 7, peers: bool = True) -> dict[str, Any]:
    """Measure, check that all agree, report."""
    fed = federation(n_users)
    problem = pfl.Problem(pfl.losses.Logistic(), fed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = problem.oracle.gram
    assert kept is not None
    share = kept[0].nbytes / fed.x.nbytes
    algorithm = pfl.PerFedAvg(alpha=ALPHA, beta=BETA, local_steps=TAU)
    w = np.linspace(-0.1, 0.1, DIM)

    def ours() -> Any:
        return algorithm.round(problem, State(w), seed=0, round_=0)[0].w

    first = ours()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    flat = fed.x.reshape(-1, 1000)
    pieces = chunks(len(flat), 1e12)
    sums = np.zeros((len(pieces), 8))
    contenders = {
        "ours": ours,
        "one pass over the data": lambda: over_users(lambda k, a, b: read(flat, a, b, sums[k]), pieces),
    }
    if peers:
        x, y = fed.x.reshape(n_users, ROWS, DIM), fed.y.reshape(n_users, ROWS)  # type: ignore[union-attr]
        others = {"NumPy chunks": lambda v: numpy_round(x, y, v), **jax_rounds(x, y)}
        for name, call in others.items():
            assert np.abs(call(w) - first).max() <= 1e-12 * np.abs(first).max(), name
        contenders |= {name: (lambda call=call: call(w)) for name, call in others.items()}  # type: ignore[misc]
    facts = {
        "name": "logistic_round",
        "users": n_users,
        "gram_over_data": share,
        "peak_growth_mib": grown / 1024,
        "data_mib": fed.x.nbytes / 2**20,
    }
    print(
        f"kept Gram matrices: {share:.2f} of the data; peak memory grew by {grown / 1024:.0f} MiB on "
        f"{fed.x.nbytes / 2**20:.0f} MiB of data"
    )
    return report(
        f"One round of Per-FedAvg, {n_users:,} users x {ROWS} x {DIM}, tau = {TAU}",
        alternate(contenders, repeats=repeats),
        "ours",
        facts,
    )
