"""An analysis as a module: found by name, checked, asked for its cells."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ..errors import require
from ..sweeps import Task, make_task
from ..sweeps.bytecode import remove_outdated


@dataclass(frozen=True)
class Analysis:
    """A module of the analyses' package, checked."""

    name: str
    module: ModuleType

    @property
    def title(self) -> str:
        """What the figure shows, in a line."""
        return str(self.module.TITLE)

    def tasks(self, scale: str, seed: int) -> list[Task]:
        """The cells of the grid."""
        cells = self.module.grid(scale)
        require(len(cells) > 0, f"analysis {self.name}: grid({scale!r}) is empty")
        return [make_task(self.name, f"{self.module.__name__}:cell", cell, seed) for cell in cells]


def names(package: str = "analysis") -> list[str]:
    """Names of all analyses: the package's files without a leading underscore. Nothing is imported."""
    return sorted(path.stem for path in _files(package) if not path.name.startswith("_"))


def _files(package: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec else []
    require(bool(folders), f"no package {package!r} here; run from the folder of the repository that holds {package}/")
    return [path for folder in folders for path in Path(folder).glob("*.py")]


def get(name: str, package: str = "analysis") -> Analysis:
    """Import an analysis by name and check that it has what an analysis has."""
    remove_outdated(_files(package))
    module = importlib.import_module(f"{package}.{name}")
    missing = [item for item in ("TITLE", "DATA", "CHOICES", "grid", "cell", "plot") if not hasattr(module, item)]
    require(
        not missing,
        f"{package}/{name}.py lacks {', '.join(missing)}; an analysis has TITLE, DATA, CHOICES, grid, cell and plot",
    )
    return Analysis(name, module)


def select(wanted: Sequence[str], package: str) -> list[str]:
    """The analyses that are asked for, each once; ``all`` stands for all of them."""
    known = names(package)
    for name in wanted:
        require(name == "all" or name in known, f"unknown analysis {name!r}; there are: {', '.join(known)}, or all")
    return known if "all" in wanted else list(dict.fromkeys(wanted))
