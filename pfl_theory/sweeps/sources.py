"""Which code made a result: hashes of sources, found without importing anything."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LIBRARY = __name__.partition(".")[0]

# Modules that present results or move them about, and so cannot change a number. A name stands for its submodules too.
PRESENTATION = tuple(
    f"{LIBRARY}.{name}" for name in ("plotting", "cli", "report", "provenance", "sweeps", "analyses", "index", "errors")
)

_ASKS_FOR_ANYTHING = {"globals", "locals", "vars", "eval", "exec"}  # after these, any name may matter


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


def digest(name: str) -> str | None:
    """Hash of what stands behind `name` now, or None if it is gone.

    ``"package.module"`` is a file, byte for byte. ``"package.module:function"`` is what that function can reach in its
    module, without comments and docstrings: editing ``plot`` or a title does not change the hash of ``cell``.
    """
    module, _, function = name.partition(":")
    path = source_file(module)
    if path is None:
        return None
    try:
        stat = path.stat()
        return _digest(str(path), function, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except (OSError, SyntaxError, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def _digest(path: str, function: str, *_version: int) -> str:
    data = Path(path).read_bytes()
    return hashlib.sha256(
        "\n".join(map(_dump, reached(ast.parse(data), function))).encode() if function else data
    ).hexdigest()


def loaded_sources(reference: str) -> list[str]:
    """Names whose hashes decide whether a result of `reference` still holds.

    These are all library modules loaded in this process (but the package's own ``__init__``, a list of names), and the
    function with the modules of its own package that it imports.

    A worker that has computed cells of another analysis has that one's modules loaded as well. That errs on the safe
    side.
    """
    modules = [
        name
        for name in list(sys.modules)
        if name.startswith(f"{LIBRARY}.") and not _presents(name) and source_file(name)
    ]
    return sorted([reference, *modules, *_siblings(reference)])


def snapshot(references: Iterable[str]) -> dict[str, str | None]:
    """Hashes of everything that a sweep over `references` may load: what to compare with when a cell ends."""
    names = set(references)
    for reference in list(names):
        names.update(_siblings(reference))
    library = importlib.util.find_spec(LIBRARY)
    for folder in (library.submodule_search_locations if library else None) or []:
        for path in Path(folder).rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            names.add(".".join([LIBRARY, *(parts[:-1] if parts[-1] == "__init__" else parts)]))
    return {name: digest(name) for name in sorted(names)}


def _presents(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PRESENTATION)


def _siblings(reference: str) -> list[str]:
    """Modules of the function's own package (an analysis' helpers) that it imports, directly or through one another."""
    module, _, function = reference.partition(":")
    package = module.rpartition(".")[0]
    if not package or package.partition(".")[0] == LIBRARY:
        return []
    found: set[str] = set()
    waiting = [(module, function)]
    while waiting:
        name, root = waiting.pop()
        path = source_file(name)
        if path is None:
            continue
        try:
            nodes = reached(ast.parse(path.read_bytes()), root)
        except (OSError, SyntaxError, ValueError):
            continue
        for other in _imports(nodes, name if path.name == "__init__.py" else name.rpartition(".")[0]):
            if (
                other.startswith(f"{package}.")
                and other not in found
                and other != module
                and source_file(other) is not None
            ):
                found.add(other)
                waiting.append((other, ""))
    return sorted(found)


def _imports(nodes: Iterable[ast.AST], package: str) -> Iterator[str]:
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # "from . import helper" names a module


def reached(tree: ast.Module, function: str) -> list[ast.stmt]:
    r"""Top-level statements that `function` can reach by name, in order; all of them for an empty name.

    Examples
    --------
    >>> text = "A = 1\nB = 2\ndef cell(): return A\ndef plot(): return B"
    >>> [ast.unparse(node) for node in reached(ast.parse(text), "cell")][0]
    'A = 1'
    """
    if not function:
        return tree.body
    bound = [(statement, _binds(statement)) for statement in tree.body if not _is_docstring(statement)]
    # A statement that binds no name (a call, a loop, "import *") may do anything: it always counts.
    names, kept = {function}, [statement for statement, names in bound if not names]
    waiting = list(kept)
    while True:
        names.update(name for statement in waiting for name in _mentions(statement))
        if names & _ASKS_FOR_ANYTHING:
            return [statement for statement, _ in bound]
        waiting = [statement for statement, binds in bound if statement not in kept and binds & names]
        if not waiting:
            return [statement for statement, _ in bound if statement in kept]
        kept += waiting


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names} - {"*"}
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        stored = [node for target in targets for node in ast.walk(target)]
        if any(isinstance(node, (ast.Attribute, ast.Subscript)) for node in stored):
            return set()  # changes an object that others may hold
        return {node.id for node in stored if isinstance(node, ast.Name)}
    return set()


def _mentions(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _dump(node: object) -> str:
    """Syntax as text that is the same under every Python version (``ast.dump`` is not), without positions and
    docstrings.
    """
    if isinstance(node, list):
        return (
            "["
            + ",".join(_dump(item) for item in node if not (isinstance(item, ast.AST) and _is_docstring(item)))
            + "]"
        )
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        (name, value)
        for name, value in ast.iter_fields(node)
        if value is not None and value != [] and name not in ("kind", "type_comment")
    ]
    return f"{type(node).__name__}({','.join(f'{name}={_dump(value)}' for name, value in fields)})"


def differs(recorded: dict[str, str]) -> str | None:
    """First name whose source is not what was recorded, or None: the answer to "made by the sources as they are
    now?".
    """
    return next((name for name, value in sorted(recorded.items()) if digest(name) != value), None)
