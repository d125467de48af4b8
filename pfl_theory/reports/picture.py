"""One figure of a report: the terms of the bound against the trivial bound and what a run measured."""

from __future__ import annotations

import textwrap
from typing import Any

from ..errors import InputError, require
from .bound import Term
from .latex import maths
from .report import Report
from .tables import NOTHING, number

SPAN = 1e-8  # of the largest number: what is smaller is a label without a bar


def _told(term: Term) -> str:
    """The symbol, and in words what it is."""
    return f"{maths(term.symbol) or term.symbol}\n{textwrap.shorten(term.words, 60, placeholder=' ...')}"


def picture(report: Report) -> Any:
    """Bars on a logarithmic scale, in the house style."""
    bound = report.bound
    require(bound is not None, f"figure: there is no bound to draw: {report.failure}")
    assert bound is not None
    try:
        from .. import plotting

        plotting.load_matplotlib()
    except ImportError as error:
        raise InputError("figure: Matplotlib is not installed; install pfl-theory[figures]") from error
    looked = report.measured
    measured = None if looked is None else looked.local
    with plotting.style():
        figure, axes = plotting.figure(width="page", height=0.9 + 0.34 * (len(bound.terms) + 1))
        bars = [(f"{bound.name}: sum", bound.value), *((_told(term), term.value) for term in reversed(bound.terms))]
        drawn = [value for _, value in bars if value > NOTHING]
        lowest = min([*drawn, bound.trivial, *([measured] if measured else [])], default=1.0)
        highest = max([*drawn, bound.trivial], default=1.0)
        left = max(lowest, highest * SPAN) / 3
        for k, (_, value) in enumerate(bars):
            axes.barh(k, max(value - left, 0.0), left=left, height=0.6, **plotting.bar_style(0 if k else 1))
            label = number(value, "upper")
            axes.annotate(label, (max(value, left), k), (3, 0), textcoords="offset points", va="center")
        axes.axvline(bound.trivial, label="trivial bound", color=plotting.COLORS["black"], linestyle="--")
        if measured:
            axes.axvline(measured, label="measured, one run", color=plotting.COLORS["green"], linestyle="-.")
        axes.set_xscale("log")
        axes.set_xlim(left, highest * 6)
        axes.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=6.5)
        axes.grid(visible=False, axis="y")
        rounds = f"K = {bound.rounds}" + ("" if report.rounds_given else " (none given)")
        axes.set_xlabel("average squared gradient of F, at most")
        axes.set_title(f"{bound.name} for {report.name}, {rounds}", loc="left")
        figure.legend(loc="outside lower center", ncols=2)
    return figure
