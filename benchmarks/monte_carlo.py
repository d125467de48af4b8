"""2000 Monte-Carlo runs x 1000 rounds of Per-FedAvg on 20 scalar quadratics, tau = 4, r = 0.5, Gaussian noise in
gradients and Hessian, float64.

Contenders: ours (Philox inside the kernel), JAX with its default generator (threefry) and with its fast one (rbg),
NumPy over runs. NumPy runs a tenth of the rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pfl_theory as pfl
from pfl_theory.expectations.monte_carlo import quadratic_monte_carlo

from .alternate import alternate, report

ALPHA, BETA, TAU, USERS, TAKE, NOISE = 0.1, 0.05, 4, 20, 10, (0.5, 0.5, 0.1)


def jax_runs(a: Any, c: Any, runs: int, rounds: int, generator: str) -> Any:
    """A scan over rounds, as a user would write it."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    a, c = jnp.asarray(a), jnp.asarray(c)

    @jax.jit
    def everything(key: Any) -> Any:
        def one_round(carry: Any, _: Any) -> Any:
            w, key = carry
            key, of_users, of_noise = jax.random.split(key, 3)
            users = jnp.argsort(jax.random.uniform(of_users, (runs, USERS)), axis=1)[:, :TAKE]
            z = jax.random.normal(of_noise, (TAU, 3, runs, TAKE))
            au, cu = a[users], c[users]

            def step(v: Any, noise: Any) -> Any:
                adapted = v - ALPHA * (au * (v - cu) + NOISE[0] * noise[0])
                g = au * (adapted - cu) + NOISE[1] * noise[1]
                return v - BETA * (g - ALPHA * (au + NOISE[2] * noise[2]) * g), None

            ends, _ = jax.lax.scan(step, jnp.broadcast_to(w[:, None], (runs, TAKE)), z)
            return (ends.mean(1), key), None

        return jax.lax.scan(one_round, (jnp.zeros(runs), key), None, length=rounds)[0][0]

    return lambda: np.asarray(everything(jax.random.key(0, impl=generator)).block_until_ready())


def numpy_runs(a: Any, c: Any, runs: int, rounds: int) -> Any:
    """Vectorised over runs and users."""
    rng = np.random.default_rng(0)
    w = np.zeros(runs)
    for _ in range(rounds):
        users = np.argsort(rng.random((runs, USERS)), axis=1)[:, :TAKE]
        au, cu = a[users], c[users]
        v = np.broadcast_to(w[:, None], (runs, TAKE))
        for _ in range(TAU):
            z = rng.standard_normal((3, runs, TAKE))
            adapted = v - ALPHA * (au * (v - cu) + NOISE[0] * z[0])
            g = au * (adapted - cu) + NOISE[1] * z[1]
            v = v - BETA * (g - ALPHA * (au + NOISE[2] * z[2]) * g)
        w = v.mean(1)
    return w


def main(runs: int = 2000, rounds: int = 1000, repeats: int = 5, peers: bool = True) -> dict[str, Any]:
    """Measure, check that the means agree, report."""
    rng = np.random.default_rng(0)
    a, c = rng.uniform(0.5, 1.5, USERS), rng.normal(size=USERS)
    algorithm = pfl.PerFedAvg(alpha=ALPHA, beta=BETA, local_steps=TAU, participation=TAKE)

    def ours() -> Any:
        return quadratic_monte_carlo(algorithm, a, c, runs=runs, rounds=rounds, noise=NOISE, every=rounds).w

    contenders: dict[str, Any] = {"ours": ours}
    if peers:
        contenders["JAX threefry (default)"] = jax_runs(a, c, runs, rounds, "threefry2x32")
        contenders["JAX rbg"] = jax_runs(a, c, runs, rounds, "rbg")
        contenders["NumPy, a tenth of the rounds"] = lambda: numpy_runs(a, c, runs, rounds // 10)
    ends = {name: call() for name, call in contenders.items()}
    for name, w in ends.items():
        error = np.hypot(w.std(), ends["ours"].std()) / np.sqrt(runs)
        assert abs(w.mean() - ends["ours"].mean()) < 5 * error, name
        assert 0.85 < w.std() / ends["ours"].std() < 1.18, name
    return report(
        f"{runs} runs x {rounds} rounds of {USERS} scalar quadratics",
        alternate(contenders, repeats=repeats, warm=0),
        "ours",
        {"name": "monte_carlo"},
    )
