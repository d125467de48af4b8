"""What several seeds say of a number."""

from __future__ import annotations


def half_width(values, level=0.95):
    """Of Student's interval of the mean; NaN of one value.

    >>> round(float(half_width([1.0, 2.0, 3.0])), 3)
    2.484
    """
    import numpy as np
    from scipy import stats

    k = len(values)
    return stats.t.ppf(0.5 + level / 2, k - 1) * np.std(values, ddof=1) / np.sqrt(k) if k > 1 else np.nan
