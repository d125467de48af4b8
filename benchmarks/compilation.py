"""Seconds to compile each kernel once, and the first call of a second process that loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from .alternate import RESULTS, machine

PROBE = """
import json, sys, time
import numpy as np
import pfl_theory as pfl
from pfl_theory.algorithms.local_steps import local_steps, plain_plan

rng = np.random.default_rng(0)
fed = pfl.Federation.from_arrays(
    [rng.normal(size=(4, 12)) for _ in range(3)], [rng.integers(0, 2, 4) for _ in range(3)]
)
losses = {
    "Quadratic": pfl.losses.Quadratic(), "LeastSquares": pfl.losses.LeastSquares(), "Logistic": pfl.losses.Logistic(),
    "LogCosh (location)": pfl.losses.LogCosh(), "LogCosh (regression)": pfl.losses.LogCosh("regression"),
    "Softmax": pfl.losses.Softmax(2), "MLP": pfl.losses.MLP(2, (4, 3)),
}
w = {}
for name, loss in losses.items():
    problem = pfl.Problem(loss, fed)
    point = np.zeros(problem.dim)
    calls = {
        "value": lambda: problem.value(point),
        "gradient": lambda: problem.gradient(point),
        "hvp": lambda: problem.hvp(point, point),
        "hessian": lambda: problem.hessian(point),
        "round": lambda: pfl.run(pfl.PerFedAvg(0.1, 0.1, batch_outer=2), problem, rounds=1),
    }
    if loss.classifies:
        calls["accuracy"] = lambda: problem.accuracy(point)
    if problem.oracle.gram is not None:
        calls["round (Gram)"] = lambda: pfl.run(pfl.PerFedAvg(0.1, 0.1), problem, rounds=1)
    for kernel, call in calls.items():
        start = time.perf_counter()
        call()
        w[f"{name}: {kernel}"] = time.perf_counter() - start
print(json.dumps(w))
"""


def main() -> dict[str, Any]:
    """Measure in an empty folder of compiled code, then again in a second process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        first, second = (
            json.loads(
                subprocess.run(
                    [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(2)
        )
    print("\nSeconds of a kernel's first call: compiled | loaded by a second process")
    for name in first:
        print(f"  {name:34s} {first[name]:6.2f} {second[name]:6.2f}")
    kept = {"name": "compilation", "compiled_s": first, "loaded_s": second, "machine": machine()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compilation.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept
