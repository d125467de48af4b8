"""Verify the theory of personalised federated learning by computing both sides of it.

Importing this package is light: names are loaded when first used.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

STARTED = time.time_ns()  # before anything else is read: what is edited later is not surely what this process runs

__version__ = "0.1.0"

# public name -> module that defines it; a name equal to its module's last part is the module itself
_PUBLIC = {
    "Measure": "federations",
    "Federation": "federations",
    "Problem": "problems",
    "Noise": "problems",
    "Constant": "constants",
    "InputError": "errors",
    "PerFedAvg": "algorithms",
    "FedAvg": "algorithms",
    "LocalTraining": "algorithms",
    "FedFomo": "algorithms",
    "Reptile": "algorithms",
    "PersonalizedFedAvg": "algorithms",
    "Centralized": "algorithms",
    "run": "algorithms",
    "adapt": "algorithms",
    "Run": "runs",
    "report": "reports",
    "recommend": "reports",
    "judge_all": "claims",
    "Instance": "claims",
    "Verdict": "claims",
    "Piecewise": "losses.piecewise",
    "total_variation": "distances",
    "wasserstein": "distances",
}
_MODULES = (
    "algorithms",
    "claims",
    "datasets",
    "distances",
    "expectations",
    "federations",
    "losses",
    "problems",
    "reports",
    "runs",
    "sweeps",
)

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _PUBLIC:
        return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module 'pfl_theory' has no attribute {name!r}; it has {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return sorted(__all__)
