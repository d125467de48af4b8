"""Find what a folder offers: adding a loss or a claim is one new file, with no list to edit."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def modules(package: str, path: Iterable[str]) -> Iterator[ModuleType]:
    """The modules of a package in order of name; a leading underscore hides a file."""
    for found in sorted(pkgutil.iter_modules(list(path)), key=lambda m: m.name):
        if not found.name.startswith("_"):
            yield importlib.import_module(f"{package}.{found.name}")


def subclasses_in_package(package: str, path: Iterable[str], base: type[T]) -> dict[str, type[T]]:
    """Public subclasses of `base` defined in the modules of a package, by class name."""
    found: dict[str, type[T]] = {}
    for module in modules(package, path):
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


def class_named(name: str, base: type[T]) -> type[T] | None:
    """The subclass of `base` that :func:`name_of` calls `name`, if its module is loaded: no file makes one load."""
    waiting = [base]
    while waiting:
        kind = waiting.pop()
        if kind is not base and name_of(kind) == name:
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
