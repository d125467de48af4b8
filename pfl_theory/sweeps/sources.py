"""Which code made a result: what its cell can reach, found by reading syntax and without importing anything.

Names are followed from the cell's function across the modules of the library and of the analysis' own package. A
top-level statement is reached if a reached one mentions a name that it binds. Classes count whole, for ``obj.method``
cannot be followed; a module used in any other way than ``module.name`` counts whole; a statement that may do more than
bind a name (a call, a registration) counts whenever anything of its module does. A result keeps one digest for each
module that was reached.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .files import file_stamp, younger_than_this_process
from .syntax import Alias, Mention, Module, Statement, short_hash

LIBRARY = __name__.partition(".")[0]

# Modules that present results or move them about, and so cannot change a number. A name stands for its submodules too.
PRESENTATION = tuple(
    f"{LIBRARY}.{name}" for name in ("analyses", "pages", "plotting", "provenance", "cli", "sweeps", "errors")
)

DISCOVERY = f"{LIBRARY}.discovery"  # what it imports by name is noted while a cell runs
_GATHER = {"modules", "subclasses_in_package", "functions_named_as_files"}
_BY_NAME = "_FOUND"  # what a package gathers under this name is followed member by member
_LAZY_TABLES = ("_PUBLIC", "_MODULES")  # of the library's __init__: names that are resolved when first used
_OF_EVERY_MODULE = {"__name__", "__file__", "__path__", "__doc__", "__package__", "__spec__", "__dict__"}
GONE = "gone"


class Sources(NamedTuple):
    """What made a result.

    Attributes
    ----------
    roots : tuple of str
        ``"package.module:function"`` of the cell, and modules that it loaded by name while it ran (these count whole).
    modules : dict
        Reached modules, each with the digest of its reached statements.
    """

    roots: tuple[str, ...] = ()
    modules: Mapping[str, str] = {}

    def as_data(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"roots": list(self.roots), "modules": dict(sorted(self.modules.items()))}

    @classmethod
    def from_data(cls, data: Any) -> Sources | None:
        """Read what :meth:`as_data` wrote; None for anything else, such as what earlier versions recorded."""
        if not isinstance(data, dict) or set(data) != {"roots", "modules"}:
            return None
        roots, modules = data["roots"], data["modules"]
        plain = isinstance(roots, list) and isinstance(modules, dict)
        if not plain or not all(isinstance(item, str) for item in (*roots, *modules, *modules.values())):
            return None
        return cls(tuple(roots), modules)


def sources_of(roots: Iterable[str]) -> Sources:
    """What can be reached from `roots` as the files stand now.

    Parameters
    ----------
    roots : iterable of str
        ``"package.module:function"``, or ``"package.module"`` for all of a module.

    Examples
    --------
    >>> found = sources_of([f"{LIBRARY}.seeds:generator"])
    >>> list(found.modules)
    ['pfl_theory.seeds:generator']
    """
    names = tuple(sorted(set(roots)))
    return Sources(names, _reach(names).digests)


def reference_roots(reference: str) -> list[str]:
    """Roots of a cell of which it is not known what it loads by name: whatever it could find."""
    search = _Search((reference,))
    search.result()
    packages = [search.module(name) for name in search.items]
    return [reference, *(member for package in packages if package for member in search.members(package))]


def differs(recorded: Sources | None) -> str | None:
    """First module whose reached source is not what was recorded, or None: the answer to "made by the sources as they
    are now?".
    """
    if recorded is None:
        return "(recorded in a way that is no longer read)"
    now = _reach(tuple(sorted(set(recorded.roots)))).digests
    if now == recorded.modules:
        return None
    # in the order in which they are reached: the first is the one that was edited, later ones may be reached no more
    names = [*now, *sorted(recorded.modules)]
    return next(name for name in names if now.get(name) != recorded.modules.get(name))


def files_seen(references: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Stamps of all files that a sweep over `references` may load, by path: what :func:`edited` compares with when a
    cell ends. They change even when an edit is put back.
    """
    found = {}
    for top in {LIBRARY, *(reference.partition(".")[0].partition(":")[0] for reference in references)}:
        path = source_file(top)
        if path is None:
            continue
        for file in path.parent.rglob("*.py") if path.name == "__init__.py" else (path,):
            found[str(file)] = file_stamp(file)
    return found


def edited(before: Mapping[str, tuple[int, ...]], sources: Sources | None = None) -> str | None:
    """First file, of those that `sources` reach or of all, that was touched since `before`, or None. What a process
    imported meanwhile is not surely what is read now, even where the text is the old one again. A file that was not
    there counts as touched if it is younger than this process.
    """
    if sources is None:
        return next((path for path, seen in before.items() if file_stamp(path) != seen), None)
    for name in sources.modules:
        path = source_file(name.partition(":")[0])
        if path is None:
            continue
        stamp, seen = file_stamp(path), before.get(str(path))
        if stamp != seen if seen else younger_than_this_process(stamp):
            return str(path)
    return None


# --- files ---


def source_file(module: str) -> Path | None:
    """File of a module, by its dotted name; its parents are not imported (some are slow), only its top package is
    looked up.
    """
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.origin is not None:
        return Path(spec.origin)
    for folder in spec.submodule_search_locations or []:
        base = Path(folder, *rest)
        for candidate in (base.with_name(base.name + ".py"), base / "__init__.py") if rest else (base / "__init__.py",):
            if candidate.is_file():
                return candidate
    return None


@functools.lru_cache(maxsize=2048)
def _parsed(name: str, path: str, _stamp: tuple[int, ...]) -> Module | None:
    try:
        return Module(name, Path(path).read_bytes(), is_package=Path(path).name == "__init__.py")
    except (OSError, SyntaxError, ValueError):
        return None


# --- what can be reached ---


class _Reached(NamedTuple):
    digests: dict[str, str]
    stamps: dict[str, tuple[int, ...]]  # of every file and folder that was looked at


_KNOWN: dict[tuple[str, ...], _Reached] = {}  # holds while all its stamps do


def _reach(roots: tuple[str, ...]) -> _Reached:
    known = _KNOWN.get(roots)
    if known is None or any(file_stamp(path) != stamp for path, stamp in known.stamps.items()):
        known = _Search(roots).result()
        if len(_KNOWN) > 4096:
            _KNOWN.clear()
        _KNOWN[roots] = known
    return known


class _Search:
    """One walk from the roots."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.roots = roots
        self.tops = {LIBRARY} | {root.partition(":")[0].partition(".")[0] for root in roots}
        self.stamps: dict[str, tuple[int, ...]] = {}
        self.modules: dict[str, Module | None] = {}
        self.items: dict[str, dict[Any, str]] = {}  # per module: statements, and texts that stand for imports
        self.loaded: set[str] = set()
        self.whole: set[str] = set()
        self.seen: set[tuple[Any, ...]] = set()
        self.waiting: deque[Statement] = deque()

    def result(self) -> _Reached:
        absent = {}
        for root in self.roots:
            name, _, function = root.partition(":")
            module = self.module(name)
            if module is None or (function and function not in module.bindings):
                absent[root] = GONE
            elif function:
                self.name(name, function)
            else:
                self.all_of(name)
        while self.waiting:
            self.follow(self.waiting.popleft())
        cells = {root.partition(":")[0]: root for root in self.roots if ":" in root}
        digests = {cells.get(name, name): _digest(items) for name, items in self.items.items()}
        return _Reached({**absent, **digests}, self.stamps)

    # modules

    def module(self, name: str) -> Module | None:
        """A module of the library or of the analysis' package, parsed; None for any other."""
        if name not in self.modules:
            found = None
            if name.partition(".")[0] in self.tops and not _presents(name):
                path = source_file(name)
                if path is not None:
                    stamp = self.stamps[str(path)] = file_stamp(str(path))
                    found = _parsed(name, str(path), stamp)
                folder = path.parent if path is not None else None
                if folder is not None:  # a new file there may take a name
                    self.stamps[str(folder)] = file_stamp(str(folder))
            self.modules[name] = found
        return self.modules[name]

    def load(self, name: str) -> None:
        """What happens when a module is imported: its parents are, and statements that do something run."""
        if name in self.loaded:
            return
        self.loaded.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            self.load(parent)
        module = self.module(name)
        for statement in module.effects if module else ():
            self.statement(statement)

    def all_of(self, name: str) -> None:
        """A whole module; of a package that finds its members by itself, these too."""
        if name in self.whole:
            return
        self.whole.add(name)
        module = self.module(name)
        if module is None:
            return
        self.load(name)
        for statement in module.statements:
            self.statement(statement)
        for bound, items in module.bindings.items():
            for alias in items:
                if isinstance(alias, Alias) and (alias.name is not None or module.is_package):
                    self.alias(name, bound, alias, ())
        for star in module.stars:
            self.all_of(star.module)
        for member in self.members(module):
            self.all_of(member)

    def members(self, module: Module) -> list[str]:
        """Public files of a package that finds its members through ``discovery``."""
        aliases = [alias for items in module.bindings.values() for alias in items if isinstance(alias, Alias)]
        if not module.is_package or not any(DISCOVERY in (a.module, f"{a.module}.{a.name}") for a in aliases):
            return []
        path = source_file(module.name)
        if path is None:
            return []
        inside = [*path.parent.glob("*.py"), *(init.parent for init in path.parent.glob("*/__init__.py"))]
        return [f"{module.name}.{name}" for name in sorted({item.stem for item in inside}) if name[0] != "_"]

    # names

    def name(self, module_name: str, name: str, attributes: tuple[str, ...] = ()) -> None:
        """``name`` of a module, and what is asked of it."""
        if (module_name, name, attributes) in self.seen or name in _OF_EVERY_MODULE:
            return
        self.seen.add((module_name, name, attributes))
        module = self.module(module_name)
        if module is None:
            return
        self.load(module_name)
        if name == "*":
            self.all_of(module_name)
        elif name in module.bindings:
            for item in module.bindings[name]:
                if isinstance(item, Alias):
                    self.alias(module_name, name, item, attributes)
                else:
                    self.statement(item)
        elif not self.lazily(module, name, attributes) and not self.elsewhere(module, name, attributes):
            self.all_of(module_name)

    def lazily(self, module: Module, name: str, attributes: tuple[str, ...]) -> bool:
        """A name of the library's tables of what is loaded when first used."""
        public, modules = _lazy_tables(module) if module.name == LIBRARY else ({}, ())
        if name not in modules and name not in public:
            return False
        text = f"{name} of {public.get(name, name)}"
        items = self.items.setdefault(module.name, {})
        items[text] = text
        for item in module.bindings.get("__getattr__", []):  # as it stands: its tables are read above
            if isinstance(item, Statement):
                items[item] = item.digest
        if name in modules:
            self.target(Alias(f"{LIBRARY}.{name}"), attributes)
        else:
            self.name(f"{LIBRARY}.{public[name]}", name, attributes)
        return True

    def elsewhere(self, module: Module, name: str, attributes: tuple[str, ...]) -> bool:
        """A submodule, or what a file of a package that finds its members defines."""
        if self.module(f"{module.name}.{name}") is not None or _presents(f"{module.name}.{name}"):
            self.target(Alias(f"{module.name}.{name}"), attributes)
            return True
        for member in self.members(module):
            found = self.module(member)
            if found is not None and any(isinstance(item, Statement) for item in found.bindings.get(name, [])):
                self.name(member, name, attributes)
                return True
        return False

    def alias(self, module_name: str, name: str, alias: Alias, attributes: tuple[str, ...]) -> None:
        """What an import at the top of a module binds."""
        if not _presents(alias.module) and not (alias.name and _presents(f"{alias.module}.{alias.name}")):
            text = f"import {alias.module} {alias.name or ''} as {name}"
            self.items.setdefault(module_name, {})[text] = text
        self.target(alias, attributes)

    def target(self, alias: Alias, attributes: tuple[str, ...]) -> None:
        """What an import stands for: a module followed by its attributes, or one counted whole."""
        if alias.name is not None:
            self.name(alias.module, alias.name, attributes)
        elif self.module(alias.module) is not None:
            self.load(alias.module)
            if attributes:
                self.name(alias.module, attributes[0], attributes[1:])
            else:
                self.all_of(alias.module)

    # statements

    def statement(self, statement: Statement) -> None:
        items = self.items.setdefault(statement.module.name, {})
        if statement not in items:
            items[statement] = statement.digest
            self.waiting.append(statement)

    def follow(self, statement: Statement) -> None:
        module, mentions = statement.module, statement.mentions
        for mention in mentions.names:
            self.mention(module, mention)
        if self.gathers(statement):
            for member in self.members(module):
                self.all_of(member)
        if mentions.anything:
            self.all_of(module.name)
        if mentions.unknown and module.name not in (LIBRARY, DISCOVERY):
            self.everything()

    def gathers(self, statement: Statement) -> bool:
        """Whether it takes all that a package's files offer, rather than one member by its name."""
        bindings = statement.module.bindings
        asked = [root for root, _ in statement.mentions.names]
        aliases = [item for root in asked for item in ([root] if isinstance(root, Alias) else bindings.get(root, []))]
        found = any(isinstance(a, Alias) and a.module == DISCOVERY and a.name in _GATHER for a in aliases)
        return found and statement not in bindings.get(_BY_NAME, [])

    def mention(self, module: Module, mention: Mention) -> None:
        root, attributes = mention
        if isinstance(root, Alias):
            self.target(root, attributes)
        elif root in module.bindings:
            self.name(module.name, root, attributes)
        elif module.stars:  # it may come from any of them
            for star in module.stars:
                self.all_of(star.module)

    def everything(self) -> None:
        """All of the library and of the analysis' package: a module is imported by a name that is not written."""
        for top in sorted(self.tops):
            path = source_file(top)
            if path is None or path.name != "__init__.py":
                continue
            for file in sorted(path.parent.rglob("*.py")):
                parts = file.relative_to(path.parent).with_suffix("").parts
                self.all_of(".".join([top, *(parts[:-1] if parts[-1] == "__init__" else parts)]))


def _presents(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PRESENTATION)


def _digest(items: dict[Any, str]) -> str:
    """Of the reached statements of a module: functions in any order, the others as they stand."""
    free, fixed = [], []
    for item, text in items.items():
        if isinstance(item, Statement) and not item.movable:
            fixed.append((item.place, text))
        else:
            free.append(text)
    return short_hash("\n".join([*sorted(free), *(text for _, text in sorted(fixed))]))


def _lazy_tables(module: Module) -> tuple[dict[str, str], tuple[str, ...]]:
    """The library's tables of names, read as literals."""
    found: dict[str, Any] = {}
    for table in _LAZY_TABLES:
        for item in module.bindings.get(table, []):
            value = getattr(item.node, "value", None) if isinstance(item, Statement) else None
            if value is not None:
                found[table] = ast.literal_eval(value)
    return found.get("_PUBLIC", {}), found.get("_MODULES", ())
