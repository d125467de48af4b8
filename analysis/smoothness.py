"""Lemma 4.2: the measured smoothness of F against its three bounds, over kappa = rho B / L^2 and alpha L."""

from __future__ import annotations

from pfl_theory import plotting

TITLE = "Lemma 4.2: measured smoothness of F over its bound, against kappa = rho B / L² and alpha L"
DATA = ("extremal functions of docs/theory/smoothness.md#2-3, random piecewise functions",)
CHOICES = {
    "left side": "exact supremum of |F''| over the whole line, by polynomial pieces",
    "scale": "L = 1 and B = 1 without loss of generality (units of w and f); rho = kappa",
    "random functions": "f'' piecewise linear with random nodes; kappa and alpha L are whatever comes out",
}
FORMS = {
    "paper": "paper: $4L+\\alpha\\rho B$",
    "sharp": "sharp: $(1+\\alpha L)^2L+\\alpha\\rho B$",
    "one-dimensional": "exact for $d=1$",
}
SHOWN = 600  # random functions drawn; the table has all
SERIES = {"paper": "FedAvg", "sharp": "first-order", "one-dimensional": "exact"}


def grid(scale):
    n, random = (25, 500) if scale == "quick" else (60, 4_000)
    cells = [{"family": "extremal", "alpha_L": a, "size": n, "block": 0} for a in (0.1, 0.25, 0.5, 0.75, 1.0)]
    return cells + [{"family": "random", "alpha_L": -1.0, "size": random // 4, "block": k} for k in range(4)]


def cell(*, seed, family, alpha_L, size, block):
    import numpy as np

    from pfl_theory.claims import lemma_4_2 as lemma
    from pfl_theory.seeds import generator

    if family == "extremal":
        instances = [lemma.witness(alpha_L, 1.0, float(kappa), 1.0) for kappa in np.geomspace(0.52, 200, size)]
    else:
        rng = generator(seed, "smoothness", block)
        instances = [lemma.random_instance(rng) for _ in range(size)]
    return [row(instance) for instance in instances]


def row(instance):
    """Constants of an instance, and its left side over each right side."""
    from pfl_theory.claims import lemma_4_2 as lemma
    from pfl_theory.theory import lemmas

    L, rho, B = (instance.constants[name].max() for name in ("L", "rho", "B"))
    measured = lemma.left_side(instance)[0].middle
    bounds = {
        "paper": lemmas.smoothness_paper,
        "sharp": lemmas.smoothness_sharp,
        "one-dimensional": lemmas.smoothness_one_dimensional,
    }
    ratios = {name: measured / formula(instance.alpha, L, rho, B) for name, formula in bounds.items()}
    return {"alpha_L_found": instance.alpha * L, "kappa": rho * B / L**2, "measured_over_L": measured / L, **ratios}


def plot(table):
    extremal, random = table[table["family"] == "extremal"], table[table["family"] == "random"]
    fig, axes = plotting.figure(1, 3, width="page", height=2.7, sharey=True)
    for ax, alpha in zip(axes[:2], (1.0, 0.25), strict=True):
        part = extremal[extremal["alpha_L"] == alpha]
        for form, label in FORMS.items():
            ax.plot(part["kappa"], part[form], label=label, markevery=4, **plotting.series_style(SERIES[form]))
        ax.set_title(rf"extremal functions, $\alpha L={alpha:g}$")
    shown = random.iloc[:: max(1, len(random) // SHOWN)]
    for form in ("paper", "one-dimensional"):
        look = plotting.series_style(SERIES[form]) | {"linestyle": "none"}
        axes[2].plot(shown["kappa"], shown[form], markersize=2, alpha=0.45, **look)
    axes[2].set_title(
        f"{len(shown)} of {len(random)} random functions"
        if len(shown) < len(random)
        else f"{len(random)} random functions"
    )
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlim(0.45, 300)
        ax.set_xlabel(r"$\kappa=\rho B/L^2$ (no unit)")
    axes[0].set_ylabel(r"$\sup_w|F''(w)|$ / bound (no unit)")
    axes[0].set_ylim(0, 1.05)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def tables(table):
    extremal = table[table["family"] == "extremal"]
    summary = extremal.groupby("alpha_L")[list(FORMS)].agg(["min", "max"])
    summary.columns = [f"{form} {end}" for form, end in summary.columns]
    return {"ratios": summary.reset_index()}
