"""Find what a folder offers: adding a loss or a claim is one new file, with no list to edit.

What is loaded by name while a cell runs is noted: the cell's result depends on it, and no reader of syntax can see
that.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

_NOTED: contextvars.ContextVar[set[str] | None] = contextvars.ContextVar("noted", default=None)


def load(module: str) -> ModuleType:
    """Import a module by its dotted name, and note it for :func:`noting`, also where it was imported before.

    What a package gathers of its own files while it is imported itself is not noted: that happens once in a process, in
    whichever cell comes first, and a reader of syntax sees it.

    Examples
    --------
    >>> with noting() as noted:
    ...     module = load("pfl_theory.seeds")
    >>> module.__name__, noted
    ('pfl_theory.seeds', {'pfl_theory.seeds'})
    """
    noted = _NOTED.get()
    parent = getattr(sys.modules.get(module.rpartition(".")[0]), "__spec__", None)
    if noted is not None and not getattr(parent, "_initializing", False):
        noted.add(module)
    return importlib.import_module(module)


@contextlib.contextmanager
def noting() -> Iterator[set[str]]:
    """A set that fills with the names of the modules that :func:`load` is asked for within the block."""
    noted: set[str] = set()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def files(path: Iterable[str]) -> list[str]:
    """Names of the modules of a package, in order; a leading underscore hides a file. Nothing is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(list(path)) if not found.name.startswith("_"))


def modules(package: str, path: Iterable[str]) -> Iterator[ModuleType]:
    """The modules of a package in order of name, loaded one by one."""
    for name in files(path):
        yield load(f"{package}.{name}")


def subclasses_in_package(package: str, path: Iterable[str], base: type[T]) -> dict[str, type[T]]:
    """Public subclasses of `base` defined in the modules of a package, by class name.

    These are not noted: a package does this once, when it is imported, and whoever uses one of its classes names it.
    """
    found: dict[str, type[T]] = {}
    for stem in files(path):
        module = importlib.import_module(f"{package}.{stem}")
        for name, item in vars(module).items():
            # the module first: an alias such as NDArray passes for a class on Python 3.10, and belongs to another
            # module
            ours = isinstance(item, type) and item.__module__ == module.__name__ and not name.startswith("_")
            if ours and issubclass(item, base) and item is not base:
                found[name] = item
    return found


def name_of(kind: type) -> str:
    """Name of a class in files: its own for one of this package, ``"module:Class"`` for one from elsewhere.

    Examples
    --------
    >>> from pfl_theory.losses import Logistic
    >>> name_of(Logistic), name_of(dict)
    ('Logistic', 'builtins:dict')
    """
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    return kind.__name__ if ours else f"{kind.__module__}:{kind.__qualname__}"


def names_below(base: type) -> list[str]:
    """What :func:`class_named` finds: names of all subclasses of `base` that are loaded.

    Examples
    --------
    >>> from pfl_theory.losses.loss import Loss
    >>> "Logistic" in names_below(Loss)
    True
    """
    below: list[type] = base.__subclasses__()
    return sorted({*map(name_of, below), *(name for kind in below for name in names_below(kind))})


def class_named(name: str, base: type[T]) -> type[T] | None:
    """The subclass of `base` that :func:`name_of` calls `name`, if its module is loaded: no file makes one load. Its
    module is noted for :func:`noting`.
    """
    waiting = [base]
    while waiting:
        kind = waiting.pop()
        if kind is not base and name_of(kind) == name:
            noted = _NOTED.get()
            if noted is not None:
                noted.add(kind.__module__)
            return kind
        waiting += kind.__subclasses__()
    return None


def functions_named_as_files(package: str, path: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """What a folder of makers offers: of every module the function that bears its name."""
    found = {}
    for module in modules(package, path):
        name = module.__name__.rpartition(".")[2]
        if callable(vars(module).get(name)):
            found[name] = vars(module)[name]
    return found
