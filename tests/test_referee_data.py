"""One answer on every route and no number where there is none: draws without replacement, far and tiny data, balls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import pfl_theory as pfl
from pfl_theory import claims
from pfl_theory.expectations.enumerated_runs import enumerate_run
from pfl_theory.judging.on_runs import exact_run, quadratic_balls
from pfl_theory.losses.noise import FiniteNoise, Flat, Noise
from pfl_theory.losses.piecewise import Curve, Piecewise

# --- batches without replacement: recursion, enumeration and the algorithm itself give one answer ---

NOISE = {2: [[-0.5], [0.5]], 3: [[-0.5], [-0.25], [0.75]]}


def noisy_run(data: int, batch: int, *, replace: bool = False, rounds: int = 1):
    """Two users of constant curvature where the run comes, alpha = .25, tau = 2, one of them a round."""
    x = np.array([-8.0, -4.0, 4.0, 8.0])
    curves = [Curve(x, np.array([0.0, h, h, 0.0]), centre, 0.0) for h, centre in ((1.0, -1.0), (0.5, 1.0))]
    problem = pfl.Problem.from_curves(Piecewise(curves, FiniteNoise(np.array(NOISE[data]), [Flat()])))
    algorithm = pfl.PerFedAvg(0.25, 0.1, 2, 1, batch, batch, None, replace=replace)
    return pfl.Instance(problem, 0.25, None, "noisy", algorithm, rounds=rounds, w0=np.ones(1))


@pytest.mark.parametrize(("data", "batch"), [(2, 1), (2, 2), (3, 2), (3, 3)])
@pytest.mark.parametrize("replace", [False, True])
def test_one_answer_on_every_route(data, batch, replace):
    instance = noisy_run(data, batch, replace=replace)
    assert quadratic_balls(instance) is not None
    by_recursion = exact_run(instance).M2
    enumerated = enumerate_run(instance.problem, instance.algorithm, 0.25, 1, 1.0).M2
    assert by_recursion.lower <= enumerated.upper
    assert enumerated.lower <= by_recursion.upper
    assert by_recursion.rad < 1e-12
    means = np.array(
        [
            pfl.run(
                instance.algorithm,
                instance.problem,
                rounds=1,
                w0=instance.w0,
                seed=seed,
                record="local_gradient",
                alpha=0.25,
            ).records["local_gradient_norm2"][:-1].mean()
            for seed in range(300)
        ]
    )
    assert abs(means.mean() - float(by_recursion.mid)) < 5 * means.std(ddof=1) / np.sqrt(len(means)) + 1e-12


def test_a_whole_batch_without_replacement_has_no_noise():
    whole, exact = noisy_run(2, 2), noisy_run(2, 2)
    exact = dataclasses.replace(exact, algorithm=pfl.PerFedAvg(0.25, 0.1, 2, 1))
    assert float(exact_run(whole).M2.mid) == pytest.approx(float(exact_run(exact).M2.mid), rel=1e-14)
    assert float(exact_run(noisy_run(2, 2, replace=True)).M2.mid) > float(exact_run(whole).M2.mid) * (1 + 1e-6)


def test_more_than_there_is_without_replacement():
    instance = noisy_run(2, 3)
    for name in ("theorem-4.5", "theorem-4.5-full", "corollary-4.6"):
        for claim in claims.forms(name):
            assert claim.judge(instance).outcome == "NOT_APPLICABLE"
    reason = claims.get("theorem-4.5", version="corrected", form="M-i").judge(instance).reason
    assert "without replacement, but a user has 2 data" in reason
    with pytest.raises(pfl.InputError, match="without replacement needs at least 3"):
        pfl.run(instance.algorithm, instance.problem, rounds=1)


def test_a_sampler_has_no_data_to_draw_without_replacement():
    noise = Noise(gradient=lambda rng, w: rng.normal(size=w.shape))
    problem = pfl.Problem.from_functions(
        value=lambda w: (w**2).sum(1) / 2, gradient=lambda w: w, hvp=lambda w, v: v, n_users=2, dim=1, noise=noise
    )
    algorithm = pfl.FedAvg(beta=0.1, batch=2, replace=False)
    with pytest.raises(pfl.InputError, match="no data to draw without replacement"):
        pfl.run(algorithm, problem, rounds=1)
