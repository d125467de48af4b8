"""``python -m benchmarks NAME ...``, of the names below: all of them unless named."""

from __future__ import annotations

import importlib
import sys

NAMES = ("logistic_round", "network_round", "fedfomo_round", "monte_carlo", "wasserstein", "compilation")

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        sys.exit(f"error: unknown benchmark {unknown[0]!r}; choose from {', '.join(NAMES)}")
    for name in wanted:
        importlib.import_module(f"benchmarks.{name}").main()
