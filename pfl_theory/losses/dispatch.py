"""How a loss reaches a compiled kernel.

What enters a kernel is a loss's *parameters*: a flat ``NamedTuple`` of numbers and arrays. The operations below are
looked up by their type when a kernel is compiled, so a loss is one file, a changed hyperparameter recompiles nothing,
and compiled code is kept between processes.

A loss on rows implements (registered with :func:`implements`)::

    value(loss, user, x, y, scale, rows, coef, w) -> float              sum_k coef[k] l(w; z_rows[k])
    gradient(loss, user, x, y, scale, rows, coef, w, out)               out[:]    = its gradient
    hvp(loss, user, x, y, scale, rows, coef, w, v, out)                 out[:]    = its Hessian times v
    hessian(loss, user, x, y, scale, rows, coef, w, out)                out[:, :] = its Hessian
    correct(loss, user, x, y, scale, rows, coef, w) -> float            weighted share of rows predicted right

`rows` are indices into the flat arrays `x` (N, p) and `y` (N,), `coef` their weights: a batch and a full expectation
are the same call. A loss of one margin u = <w, x> implements ``phi(loss, u, y)``, ``dphi``, ``d2phi`` instead (see
``margin.py``) and may add a penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types as _types
from numba.extending import overload

from ..errors import require
from ..kernels.jit import FOREIGN, of_package

types: Any = _types
INLINE = {"forceinline": True}  # a call left in a loop over rows would keep the loop out of vector registers
_IMPLEMENTATIONS: dict[tuple[str, type], Callable[..., Any]] = {}
_COMPILED: set[tuple[str, type]] = set()  # operations that a kernel of this process has taken in


def implements(parameters: type, **operations: Callable[..., Any]) -> None:
    """Register the operations of a loss's `parameters` type.

    Raises
    ------
    InputError
        An operation that is compiled already, or whose default is: kernels would go on with the old one.
    """
    for name, function in operations.items():
        before = _IMPLEMENTATIONS.get((name, parameters))
        require(
            before is function or (name, parameters) not in _COMPILED,
            f"{name} of {parameters.__name__} is compiled already; register it before its first use, or in a new "
            "process",
        )
        if before not in (None, function) or not of_package(function):
            FOREIGN.add(parameters)  # no process but this one may run what is compiled with it
        _IMPLEMENTATIONS[name, parameters] = function


def implemented(operation: str, parameters: object) -> bool:
    """Whether the loss behind these parameters has the operation."""
    return (operation, type(parameters)) in _IMPLEMENTATIONS


def _find(operation: str, loss: Any, default: Callable[..., Any] | None = None) -> Callable[..., Any] | None:
    """The implementation for this type of parameters; None lets numba report that there is none."""
    if not isinstance(loss, types.NamedTuple | types.NamedUniTuple):  # equal field types make a NamedUniTuple
        return None
    _COMPILED.add((operation, loss.instance_class))
    return _IMPLEMENTATIONS.get((operation, loss.instance_class), default)


def value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    """Weighted mean of the loss over rows."""
    raise NotImplementedError


def gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    """Weighted mean of the gradient over rows, written to `out` (d,)."""
    raise NotImplementedError


def hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    """Weighted mean of the Hessian over rows times `v`, written to `out` (d,)."""
    raise NotImplementedError


def hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    """Weighted mean of the Hessian over rows, written to `out` (d, d)."""
    raise NotImplementedError


def correct(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    """Weighted share of rows whose label is predicted."""
    raise NotImplementedError


def phi(loss, u, y):  # type: ignore[no-untyped-def]
    """Loss of a margin u = <w, x>."""
    raise NotImplementedError


def dphi(loss, u, y):  # type: ignore[no-untyped-def]
    """Its first derivative in u."""
    raise NotImplementedError


def d2phi(loss, u, y):  # type: ignore[no-untyped-def]
    """Its second derivative in u."""
    raise NotImplementedError


def penalty(loss, w):  # type: ignore[no-untyped-def]
    """A term of the loss that depends on w alone; 0 unless implemented."""
    raise NotImplementedError


def add_penalty_gradient(loss, w, out):  # type: ignore[no-untyped-def]
    """Add the penalty's gradient to `out`."""
    raise NotImplementedError


def add_penalty_hvp(loss, w, v, out):  # type: ignore[no-untyped-def]
    """Add the penalty's Hessian times `v` to `out`."""
    raise NotImplementedError


def add_penalty_hessian(loss, w, out):  # type: ignore[no-untyped-def]
    """Add the penalty's Hessian to `out`."""
    raise NotImplementedError


def _without_hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    raise ValueError("this loss has no Hessian-vector product")  # the problem refuses before a kernel gets here


@overload(value)
def _value(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    return _find("value", loss)


@overload(gradient)
def _gradient(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    return _find("gradient", loss)


@overload(hvp)
def _hvp(loss, user, x, y, scale, rows, coef, w, v, out):  # type: ignore[no-untyped-def]
    # a loss of first derivatives alone still runs under variants that ask for no Hessian
    return _find("hvp", loss, _without_hvp)


@overload(hessian)
def _hessian(loss, user, x, y, scale, rows, coef, w, out):  # type: ignore[no-untyped-def]
    return _find("hessian", loss)


@overload(correct)
def _correct(loss, user, x, y, scale, rows, coef, w):  # type: ignore[no-untyped-def]
    return _find("correct", loss)


@overload(phi, jit_options=INLINE)
def _phi(loss, u, y):  # type: ignore[no-untyped-def]
    return _find("phi", loss)


@overload(dphi, jit_options=INLINE)
def _dphi(loss, u, y):  # type: ignore[no-untyped-def]
    return _find("dphi", loss)


@overload(d2phi, jit_options=INLINE)
def _d2phi(loss, u, y):  # type: ignore[no-untyped-def]
    return _find("d2phi", loss)


@overload(penalty)
def _penalty(loss, w):  # type: ignore[no-untyped-def]
    return _find("penalty", loss, lambda loss, w: 0.0)


@overload(add_penalty_gradient)
def _add_penalty_gradient(loss, w, out):  # type: ignore[no-untyped-def]
    return _find("add_penalty_gradient", loss, lambda loss, w, out: None)


@overload(add_penalty_hvp)
def _add_penalty_hvp(loss, w, v, out):  # type: ignore[no-untyped-def]
    return _find("add_penalty_hvp", loss, lambda loss, w, v, out: None)


@overload(add_penalty_hessian)
def _add_penalty_hessian(loss, w, out):  # type: ignore[no-untyped-def]
    return _find("add_penalty_hessian", loss, lambda loss, w, out: None)
