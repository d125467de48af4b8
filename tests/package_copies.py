"""The package's sources in a folder of their own, for tests that edit them and ask new processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pfl_theory


def edit(path: Path, before: str, after: str) -> None:
    """Replace a text that occurs once."""
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} no longer reads {before!r}: change this test"
    path.write_text(text.replace(before, after))


class Copy(NamedTuple):
    """A copy of the package, and where its processes keep compiled code."""

    package: Path
    cache: Path

    def done(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A process that runs `code` on the copy."""
        home = {"PYTHONPATH": str(self.package.parent), "NUMBA_CACHE_DIR": str(self.cache)}
        time.sleep(0.1)  # a process that starts as a file is written cannot know whether it has read it
        given = {name: value for name, value in {**os.environ, **home, **environment}.items() if value}
        return subprocess.run(
            [sys.executable, "-c", code], env=given, cwd=self.package.parent, capture_output=True, text=True
        )

    def ask(self, code: str, **environment: str) -> list[str]:
        """What it prints, in words; it must end well."""
        done = self.done(code, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()


def copied(folder: Path) -> Copy:
    """A fresh copy below `folder`."""
    package = folder / "pfl_theory"
    shutil.copytree(Path(pfl_theory.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return Copy(package, folder / "cache")
