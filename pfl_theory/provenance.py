"""Where a result comes from: command, code, versions, machine. No user names and no absolute paths."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "numba", "pot", "pandas", "matplotlib", "joblib", "threadpoolctl")
_THREADS = ("PFL_THEORY_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def provenance(
    *,
    command: Sequence[str] | None = None,
    seed: int | None = None,
    scale: str | None = None,
    data: Sequence[str] = (),
    seconds: float | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Describe how a result is being made, as plain JSON data.

    Parameters
    ----------
    command : sequence of str, optional
        Program and arguments, ``sys.argv`` unless given; absolute paths in it are shortened.
    seed, scale, data, seconds, workers
        What the caller knows of the run: root seed, ``"quick"`` or ``"full"``, names of data sets, wall seconds, worker
        processes.

    Examples
    --------
    >>> sorted(provenance(seed=0))[:6]
    ['command', 'cpu', 'cpu_count', 'data', 'date', 'git']
    """
    return {
        "command": plain_command(sys.argv if command is None else command),
        "git": _git(Path(__file__).parent),
        "version": _version("pfl-theory"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "workers": workers,
        "seed": seed,
        "scale": scale,
        "data": list(data),
        "seconds": seconds,
        "date": _date(),
    }


def plain_command(arguments: Sequence[str]) -> str:
    """The command as a reader would type it, without this machine's paths.

    Examples
    --------
    >>> plain_command(["/home/me/repo/analysis/__main__.py", "all", "--out=/home/me/x"])
    'python -m analysis all --out=x'
    >>> plain_command(["/usr/bin/pfl-theory", "judge", "lemma-4.2"])
    'pfl-theory judge lemma-4.2'
    """
    if not arguments:
        return ""
    program = Path(arguments[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    return " ".join([name, *map(_shorten, arguments[1:])])


def _shorten(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    path = Path(value)
    if path.is_absolute() or value.startswith("~"):
        here = Path.cwd()
        value = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    return f"{option}{equals}{value}"


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit, and whether code differs from it (figures are results, and change while they are made)."""

    def ask(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return answer.stdout.strip()

    try:
        if ask("ls-files", "--", Path(__file__).name) == "":
            return None  # an installed copy inside some other repository
        changed = ask("status", "--porcelain", "--", ":(top)", ":(top,exclude)figures")
        return {"commit": ask("rev-parse", "HEAD"), "dirty": changed != ""}
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _date() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = (
        datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
        if epoch.isdecimal()
        else datetime.datetime.now(datetime.timezone.utc)
    )
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
