"""A module's top-level statements as syntax: what each binds, what it mentions, and a text without comments and
docstrings. Nothing is imported.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Decorators that change what a name stands for and nothing else. A definition under any other may register itself
# somewhere (``overload`` does), so it counts whenever its module is loaded, mentioned or not.
PURE_DECORATORS = {"cache", "cached_property", "contextmanager", "dataclass", "final", "lru_cache", "total_ordering"}
PURE_DECORATORS |= {"wraps", "intrinsic", "jit", "njit", "kernel", "helper", "scalar"}
_OF_TYPING = {"typing", "typing_extensions"}

_NAMESPACE = {"globals", "eval", "exec"}  # after these, any name of the module may matter
_NAMESPACE_IF_BARE = {"locals", "vars"}  # the same without arguments
_IMPORTERS = {"import_module", "__import__"}

_Function = (ast.FunctionDef, ast.AsyncFunctionDef)
_Comprehension = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Alias(NamedTuple):
    """What an import binds: a module, or the name `name` of a module (``"*"`` for all of them)."""

    module: str
    name: str | None = None


class Mention(NamedTuple):
    """A name used by a statement, with the attributes asked of it: ``(root, ("b", "c"))`` for ``root.b.c``. The root
    is a name of the module, or what a local import bound.
    """

    root: str | Alias
    attributes: tuple[str, ...] = ()


class Mentions(NamedTuple):
    """All that a statement uses. `anything`: it may use every name of its module; `unknown`: it imports a module by a
    name that is not written there.
    """

    names: tuple[Mention, ...]
    anything: bool
    unknown: bool


class Statement:
    """One top-level statement."""

    def __init__(self, module: Module, place: int, node: ast.stmt) -> None:
        self.module, self.place, self.node = module, place, node
        self.registers = isinstance(node, (*_Function, ast.ClassDef)) and not all(
            map(module.is_pure, node.decorator_list)
        )
        lazy = module.lazy and not self.registers
        self._fields = _FIELDS_LAZY if lazy else _FIELDS

    @property
    def movable(self) -> bool:
        """Whether it may stand anywhere in its module: a function whose name nothing else binds."""
        alone = isinstance(self.node, _Function) and len(self.module.bindings[self.node.name]) == 1
        return alone and not self.registers

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the statement's text."""
        return short_hash(text_of(self.node, self._fields))

    @functools.cached_property
    def mentions(self) -> Mentions:
        """Names that the statement uses."""
        reader = _Reader(self.module.package, lazy=self._fields is _FIELDS_LAZY)
        reader.visit(self.node)
        return Mentions(tuple(dict.fromkeys(reader.found)), reader.anything, reader.unknown)


class Module:
    """A module's statements and names.

    Attributes
    ----------
    statements : list of Statement
        Without docstrings, imports, and what is for type checkers only.
    bindings : dict
        Each name of the module to the statements and imports that bind it.
    effects : list of Statement
        Those that may do something beyond binding a name: they count whenever the module is loaded.

    Examples
    --------
    >>> text = "import numpy as np\\nfrom . import b\\nA = 1\\nregister(A)\\ndef cell():\\n    return A + b.c.d"
    >>> module = Module("p.a", text.encode())
    >>> [ast.unparse(s.node) for s in module.effects], module.bindings["b"]
    (['register(A)'], [Alias(module='p', name='b')])
    >>> module.bindings["cell"][0].mentions.names
    (Mention(root='A', attributes=()), Mention(root='b', attributes=('c', 'd')))
    """

    def __init__(self, name: str, source: bytes, *, is_package: bool = False) -> None:
        self.name, self.is_package = name, is_package
        self.package = name if is_package else name.rpartition(".")[0]
        tree = ast.parse(source)
        self.lazy = any(
            isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
            for node in tree.body[:2]
        )
        self.statements: list[Statement] = []
        self.effects: list[Statement] = []
        self.bindings: dict[str, list[Statement | Alias]] = {}
        self.stars: list[Alias] = []
        kept = [node for node in tree.body if not _does_nothing(node)]
        for node in kept:
            self._bind_imports(node)
        for place, node in enumerate(node for node in kept if not isinstance(node, (ast.Import, ast.ImportFrom))):
            statement = Statement(self, place, node)
            self.statements.append(statement)
            bound, effect = _binds(node)
            for bound_name in bound:
                self.bindings.setdefault(bound_name, []).append(statement)
            if effect or statement.registers:
                self.effects.append(statement)

    def _bind_imports(self, node: ast.stmt) -> None:
        """Imports at the top, also under ``if`` and ``try``."""
        inner: Iterable[ast.AST] = [node]
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            inner = [] if isinstance(node, (*_Function, ast.ClassDef)) else _walk_scope([node])
        for item in inner:
            if isinstance(item, (ast.Import, ast.ImportFrom)):
                for name, alias in imported(item, self.package):
                    self.stars += [alias] if alias.name == "*" else []
                    self.bindings.setdefault(name, []).append(alias)

    def is_pure(self, decorator: ast.expr) -> bool:
        """Whether a decorator does nothing but wrap."""
        inner = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(inner, ast.Attribute):
            return inner.attr in PURE_DECORATORS
        if not isinstance(inner, ast.Name):
            return False
        aliases = [item for item in self.bindings.get(inner.id, []) if isinstance(item, Alias)]
        if inner.id == "overload":
            return bool(aliases) and all(alias.module in _OF_TYPING for alias in aliases)
        return inner.id in PURE_DECORATORS or any(alias.name in PURE_DECORATORS for alias in aliases)


def whole_digest(source: bytes) -> str:
    r"""Hash of a module's syntax, without comments and docstrings.

    Examples
    --------
    >>> whole_digest(b"'A.'\nX = 1  # one") == whole_digest(b"X = (1)")
    True
    """
    tree = ast.parse(source)
    return short_hash("\n".join(text_of(node) for node in tree.body if not is_docstring(node)))


def short_hash(text: str) -> str:
    """16 hex digits of sha256: enough against accidents."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Alias]]:
    """Names that an import binds, and what they stand for, in a module of `package`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield alias.asname or top, Alias(alias.name if alias.asname else top)
        return
    if node.module == "__future__":
        return
    base = absolute("." * node.level + (node.module or ""), package)
    for alias in node.names:
        yield alias.asname or alias.name, Alias(base, alias.name)


def absolute(name: str, package: str) -> str:
    """A module's name without leading dots, as seen from `package`.

    Examples
    --------
    >>> absolute("..errors", "a.b"), absolute("c.d", "a.b"), absolute(".", "a.b")
    ('a.errors', 'c.d', 'a.b')
    """
    rest = name.lstrip(".")
    level = len(name) - len(rest)
    if not level:
        return rest
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([rest] if rest else [])])


# --- what a statement binds ---


def is_docstring(node: ast.AST) -> bool:
    """Whether a statement is nothing but a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):  # only what type checkers read
        test = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        return test == "TYPE_CHECKING" and not node.orelse
    return is_docstring(node) or isinstance(node, ast.Pass)


def _binds(node: ast.stmt) -> tuple[set[str], bool]:
    """Names that a top-level statement binds, and whether it may do more than that."""
    if isinstance(node, (*_Function, ast.ClassDef)):
        return {node.name}, False
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        stored = [inner for target in targets for inner in ast.walk(target)]
        bound = {inner.id for inner in stored if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}
        # one that changes an object which others may hold
        return bound, any(isinstance(inner, (ast.Attribute, ast.Subscript)) for inner in stored)
    return _stored([node]), True


def _walk_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Nodes of one scope: those of inner functions, classes and lambdas are left out, the definitions are not."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*_Function, ast.ClassDef, ast.Lambda, *_Comprehension)):
            waiting.extend(ast.iter_child_nodes(node))


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that statements of one scope bind, imports left out."""
    found = set()
    for node in _walk_scope(nodes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found.add(node.id)
        elif isinstance(node, (*_Function, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            found |= {node.name} if node.name else set()
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
    return found


# --- what a statement mentions ---


class _Reader(ast.NodeVisitor):
    """Collects the names that a statement takes from its module or from its own imports."""

    def __init__(self, package: str, *, lazy: bool) -> None:
        self.package, self.lazy = package, lazy
        self.found: list[Mention] = []
        self.anything = self.unknown = False
        self._scopes: list[dict[str, list[Alias]]] = []  # local names; an empty list is one that no import binds

    def _mention(self, name: str, attributes: tuple[str, ...] = ()) -> None:
        for scope in reversed(self._scopes):
            if name in scope:
                self.found += [Mention(alias, attributes) for alias in scope[name]]
                return
        self.found.append(Mention(name, attributes))
        if name in _NAMESPACE:
            self.anything = True
        if name == "sys" and attributes[:1] == ("modules",):
            self.unknown = True

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._mention(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        attributes = tuple(reversed(chain))
        if isinstance(inner, ast.Name):
            self._mention(inner.id, attributes)
        elif isinstance(inner, ast.Call) and _called(inner) in _IMPORTERS:
            self._imports_by_name(inner, attributes)
        else:
            self.visit(inner)

    def visit_Call(self, node: ast.Call) -> None:
        called = _called(node)
        if called in _IMPORTERS:
            self._imports_by_name(node, ())
            return
        if called in _NAMESPACE_IF_BARE and isinstance(node.func, ast.Name) and not node.args:
            self.anything = True
        stores = isinstance(node.func, ast.Attribute) and node.func.attr == "update"
        if stores and _is_globals(node.func.value):  # type: ignore[attr-defined]
            for argument in (*node.args, *node.keywords):  # globals().update(...) writes names and reads none
                self.visit(argument)
            return
        self.generic_visit(node)

    def _imports_by_name(self, node: ast.Call, attributes: tuple[str, ...]) -> None:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            self.found.append(Mention(Alias(absolute(first.value, self.package)), attributes))
        else:
            self.unknown = True
        for argument in (*node.args, *node.keywords):
            self.visit(argument)

    def visit_Global(self, node: ast.Global) -> None:
        self.found += [Mention(name) for name in node.names]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        given += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
        outside: list[ast.expr | None] = [*arguments.defaults, *arguments.kw_defaults]
        if not isinstance(node, ast.Lambda):
            outside += node.decorator_list
            if not self.lazy:
                outside += [node.returns, *(argument.annotation for argument in given)]
        for expression in outside:
            if expression is not None:
                self.visit(expression)
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        self._inside(body, {argument.arg for argument in given})

    def _inside(self, body: list[ast.AST], bound: set[str]) -> None:
        within = list(_walk_scope(body))
        declared = {name for node in within if isinstance(node, (ast.Global, ast.Nonlocal)) for name in node.names}
        scope: dict[str, list[Alias]] = {name: [] for name in bound | _stored(body)}
        for node in within:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name, alias in imported(node, self.package):
                    scope.setdefault(name, []).append(alias)
        self._scopes.append({name: aliases for name, aliases in scope.items() if name not in declared})
        for node in body:
            self.visit(node)
        self._scopes.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.target, node.value, None if self.lazy else node.annotation):
            if part is not None:
                self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        pass  # what it binds is followed where it is used

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if any(alias.name == "*" for alias in node.names):
            self.found.append(Mention(Alias(absolute("." * node.level + (node.module or ""), self.package))))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        # Names of a class' body are not seen in its methods: they are looked for in the module, which errs on the safe
        # side.
        imports: dict[str, list[Alias]] = {}
        for inner in _walk_scope(node.body):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                for name, alias in imported(inner, self.package):
                    imports.setdefault(name, []).append(alias)
        self._scopes.append(imports)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, [node.key, node.value])

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, results: list[ast.expr]
    ) -> None:
        self.visit(node.generators[0].iter)  # outside of its scope
        self._scopes.append({name: [] for name in _stored(generator.target for generator in node.generators)})
        for k, generator in enumerate(node.generators):
            for part in ([] if k == 0 else [generator.iter]) + generator.ifs:
                self.visit(part)
        for part in results:
            self.visit(part)
        self._scopes.pop()


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_globals(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "globals"


# --- a text that is the same under every Python version (``ast.dump`` is not) ---


def _fields(lazy: bool) -> dict[type, tuple[str, ...]]:
    """Fields of every kind of node that are worth writing down."""
    idle = {"kind", "type_comment", "ctx"}
    found = {}
    for kind in vars(ast).values():
        if isinstance(kind, type) and issubclass(kind, ast.AST):
            left_out = idle
            if lazy and issubclass(kind, ast.arg):
                left_out = idle | {"annotation"}
            elif lazy and issubclass(kind, _Function):
                left_out = idle | {"returns"}
            found[kind] = tuple(name for name in kind._fields if name not in left_out)
    return found


_FIELDS = _fields(lazy=False)
_FIELDS_LAZY = _fields(lazy=True)  # where annotations are never evaluated


def text_of(node: ast.AST, fields: dict[type, tuple[str, ...]] = _FIELDS) -> str:
    """A node as text, without positions, comments and docstrings.

    Examples
    --------
    >>> text_of(ast.parse("x = 1").body[0])
    'Assign(targets=[Name(id=x)]value=Constant(value=1))'
    """
    parts: list[str] = []
    add = parts.append

    def write(item: object) -> None:
        if type(item) is list:
            add("[")
            for inner in item:
                if type(inner) is not ast.Expr or not is_docstring(inner):
                    write(inner)
            add("]")
        elif type(item) in fields:
            kind = type(item)
            add(kind.__name__ + "(")
            if kind is ast.Constant:
                add("value=" + repr(item.value))  # type: ignore[attr-defined]
            else:
                for name in fields[kind]:
                    value = getattr(item, name, None)
                    if value is None or value == []:
                        continue
                    if type(value) is str:
                        add(f"{name}={value}")
                    else:
                        add(name + "=")
                        write(value)
            add(")")
        else:
            add(repr(item))

    write(node)
    return "".join(parts)
