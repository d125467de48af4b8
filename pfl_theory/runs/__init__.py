"""What a run recorded."""

from .run import Run

__all__ = ["Run"]
