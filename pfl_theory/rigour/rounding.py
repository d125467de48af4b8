"""The unit of rounding."""

from __future__ import annotations

UNIT = 2.0**-53  # largest relative error of one rounding to nearest in float64
