"""Marks for what says in words which data it uses: analyses (DATA) and cases of claims (needs)."""

from __future__ import annotations

import pytest


def marks_of(words: str) -> list[pytest.MarkDecorator]:
    """FEMNIST lies on a machine or does not; for MNIST a dependency has a substitute."""
    if "FEMNIST" in words:
        return [pytest.mark.data("femnist")]
    return [pytest.mark.prefers("mnist")] if "MNIST" in words else []
