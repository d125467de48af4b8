"""House style: figures that print well in one column, in grey, and for colour-blind readers; the same input gives the
same bytes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import one_of
from .sweeps.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# Okabe and Ito's colours; yellow last, for it is faint on white.
COLORS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), "-", (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "++++", "oo")

# One look for one thing in every figure.
SERIES = {
    "exact": 0,
    "FedAvg": 1,
    "first-order": 2,
    "hessian-free": 3,
    "local": 4,
    "centralized": 5,
    "bound": 6,
    "measured": 0,
    "before": 1,
    "after": 0,
}

WIDTHS = {"column": 3.4, "page": 7.0}  # inches

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib: the same on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "grid.color": "0.85",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "figure.figsize": (3.4, 2.5),
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # fonts embedded as fonts, not as drawings
    "ps.fonttype": 42,
    "svg.hashsalt": "pfl-theory",
}


def load_matplotlib() -> Any:
    """Matplotlib, also where the environment names a backend that is not installed here: a shell that a notebook
    started hands its own on. Figures are drawn without any.
    """
    named = os.environ.get("MPLBACKEND")
    try:
        import matplotlib as mpl
    except ValueError:
        if named is None:
            raise
        for name in [n for n in sys.modules if n == "matplotlib" or n.startswith("matplotlib.")]:
            del sys.modules[name]
        os.environ["MPLBACKEND"] = "agg"
        try:
            import matplotlib as mpl
        finally:
            os.environ["MPLBACKEND"] = named
    return mpl


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the house style, whatever the user's own settings, and put those back."""
    mpl = load_matplotlib()
    from cycler import cycler

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(RC)
        settings["axes.prop_cycle"] = cycler(color=list(COLORS.values()))
        yield


def figure(
    rows: int = 1, columns: int = 1, *, width: str = "column", height: float = 2.5, **subplots: Any
) -> tuple[Figure, Any]:
    """Figure and axes without pyplot: nothing global, nothing to close.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width : {"column", "page"}
        What the figure fills in print.
    height : float
        Inches.
    **subplots
        For `Figure.subplots`, such as ``sharey=True``.
    """
    load_matplotlib()
    from matplotlib.figure import Figure

    one_of("width", width, tuple(WIDTHS))
    made = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    return made, made.subplots(rows, columns, **subplots)


def _index(k: int | str) -> int:
    if isinstance(k, str):
        one_of("series", k, tuple(SERIES))
        return SERIES[k]
    return k % len(COLORS)


def series_style(k: int | str) -> dict[str, Any]:
    """Colour, line and marker of a series, by number or by name; each of the three alone tells series apart.

    Examples
    --------
    >>> series_style("FedAvg")
    {'color': '#D55E00', 'linestyle': '--', 'marker': 's'}
    """
    k = _index(k)
    return {"color": list(COLORS.values())[k], "linestyle": LINES[k], "marker": MARKERS[k]}


def bar_style(k: int | str) -> dict[str, Any]:
    """Fill, hatch and edge of bars or areas, by number or by name.

    Examples
    --------
    >>> bar_style(1)
    {'facecolor': '#D55E00', 'hatch': '////', 'edgecolor': 'black', 'linewidth': 0.6}
    """
    k = _index(k)
    return {"facecolor": list(COLORS.values())[k], "hatch": HATCHES[k], "edgecolor": "black", "linewidth": 0.6}


def band(ax: Axes, x: ArrayLike, low: ArrayLike, mid: ArrayLike, high: ArrayLike, label: str, k: int | str) -> None:
    """A line for the median and a shade from `low` to `high` (10 and 90 %, say). Markers are thinned out to about
    eight.
    """
    import numpy as np

    look = series_style(k)
    n = max(1, len(np.asarray(x)))
    step = max(1, n // 8)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
    ax.plot(x, mid, label=label, markevery=(_index(k) * step // len(MARKERS) % n, step), **look)


def save_figure(fig: Figure, folder: str | os.PathLike[str], stem: str) -> list[Path]:
    """Write ``<stem>.pdf`` and ``<stem>.png``, each whole or not at all, and without dates: equal figures are equal
    files.
    """
    files = []
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it remarks on the dates inside Matplotlib's own fonts
    with style():
        for ending, metadata in (("pdf", {"CreationDate": None, "ModDate": None}), ("png", {"Software": None})):
            picture = io.BytesIO()
            fig.savefig(picture, format=ending, metadata=metadata)
            files.append(Path(folder) / f"{stem}.{ending}")
            with atomic_write(files[-1], "wb") as stream:
                stream.write(picture.getvalue())
    return files
