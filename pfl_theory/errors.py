"""What goes wrong, said in one line: what was given, what is allowed, what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input. The message is one line; the command line prints it without a traceback and exits 2."""


class DataMissingError(InputError):
    """A data set is absent. Analyses turn it into a row "skipped: needs X, put it there"."""


class OutputError(InputError):
    """An output folder cannot be written (permissions, no space). Nothing half-written is left."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`InputError` with `message` unless `condition` holds.

    Examples
    --------
    >>> require(False, "alpha = -1.0: must be >= 0; use 0 for FedAvg")
    Traceback (most recent call last):
    ...
    pfl_theory.errors.InputError: alpha = -1.0: must be >= 0; use 0 for FedAvg
    """
    if not condition:
        raise InputError(message)


def one_of(name: str, value: object, allowed: list[str] | tuple[str, ...]) -> None:
    """Refuse a `value` outside `allowed` names, listing them."""
    require(value in allowed, f"{name} = {value!r}: unknown; choose one of {', '.join(map(repr, allowed))}")
