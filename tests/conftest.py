"""Shared by all tests."""

from __future__ import annotations

import os

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # tests share the cores: one thread each, for BLAS (before NumPy is loaded) and for the kernels
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "PFL_THEORY_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20200217)
