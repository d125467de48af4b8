"""One file a statement, found by its name as the statements are: ``rule(version, form, instance)`` gives a ruling."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...discovery import files, load
from ..ruling import Ruling


def names() -> list[str]:
    """Statements that have a referee."""
    return [re.sub(r"(?<=\d)_(?=\d)", ".", file).replace("_", "-") for file in files(__path__)]


def module_of(name: str) -> Any:
    """The referee's file of a statement: ``KINDS`` are the kinds of instances it wants, ``rule`` its judgement."""
    return load(f"{__name__}.{re.sub('[-.]', '_', name)}")


def referee_of(name: str) -> Callable[[str, str, Any], Ruling]:
    """The judgement of a statement's referee."""
    return module_of(name).rule  # type: ignore[no-any-return]
