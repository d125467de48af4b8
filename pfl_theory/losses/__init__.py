"""Losses, one file each. A new file in this folder that defines a subclass of :class:`~pfl_theory.losses.loss.Loss` is
found by itself.
"""

from __future__ import annotations

from ..discovery import subclasses_in_package
from .loss import Loss

_FOUND = subclasses_in_package(__name__, __path__, Loss)  # type: ignore[type-abstract]
globals().update(_FOUND)

__all__ = ["Loss", *_FOUND]
