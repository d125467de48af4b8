"""Measure contenders in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def alternate(
    contenders: Mapping[str, Callable[[], Any]], *, repeats: int, warm: int = 1, rest: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of every contender: `warm` uncounted calls each, then `repeats` rounds A B C A B C ...

    With a `rest`, so many seconds and an uncounted call stand before each counted one: threads of some libraries go on
    spinning after their work is done and would take a processor from the next contender, which then starts with caches
    full of another's data.
    """
    for call in contenders.values():
        for _ in range(warm):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            if rest > 0:
                time.sleep(rest)
                call()
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(
    title: str,
    seconds: Mapping[str, list[float]],
    ours: str,
    facts: Mapping[str, Any],
    notes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Print medians with spread and the ratio to `ours`, pair by pair; keep them as JSON, with the `notes` of each
    contender. Returns what was kept.
    """
    rows: dict[str, dict[str, Any]] = {}
    print(f"\n{title}")
    for name, values in seconds.items():
        ratios = [v / o for v, o in zip(values, seconds[ours], strict=True)]
        rows[name] = {
            "median_ms": 1e3 * statistics.median(values),
            "min_ms": 1e3 * min(values),
            "max_ms": 1e3 * max(values),
            "ratio_median": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
        r = rows[name]
        times = f"{r['median_ms']:9.1f} ms ({r['min_ms']:.1f} to {r['max_ms']:.1f})"
        noted = (notes or {}).get(name, {})
        said = "".join(f"; {key} {_said(value)}" for key, value in noted.items())
        r.update(noted)
        print(
            f"  {name:34s} {times:34s} {r['ratio_median']:7.2f} times ours ({r['ratio_min']:.2f} to "
            f"{r['ratio_max']:.2f}){said}"
        )
    kept = {"title": title, "contenders": rows, "repeats": len(seconds[ours]), **facts, "machine": machine()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{facts['name']}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def machine() -> dict[str, Any]:
    """What it ran on."""
    versions = {}
    for package in ("numpy", "numba", "scipy", "POT", "jax", "jaxlib", "torch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        **versions,
    }
