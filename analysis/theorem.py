"""Theorem 4.5: measured against its bounds over beta, tau, r, alpha and D, and the factor tau that the transcribed
participation term lacks.
"""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "Theorem 4.5: the measured average of ||grad F||² against its bounds, and the constant that the transcribed form "
    "needs as tau grows"
)
DATA = ("instance I of docs/theory/theorem-4-5.md#9-5-1", "ten users of one curvature with bounded noise")
CHOICES = {
    "left side": "exact expectation by recursion (enclosed), K = 10^12 rounds (100 tau at r = 1); diamonds: 60 "
    "runs of the algorithm, level 0.99994",
    "first panel": "left side over the transcribed right side with O(1) = 1; at r < 1 from the minimiser, where "
    "Phi = 0: the O(1) that is needed",
    "base of the sweeps": "n = 10, r = 0.2, tau = 8, alpha L = 0.25, D = D' = 4, noise +-1/2, s = 0.05 in the "
    "sharp constants, w_0 = 1",
    "M-ii": "with the run's own constants; the other bounds with the constants of the assumptions",
}
TAUS = (1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BASE = {"s": 0.05, "tau": 8, "m": 2, "alpha": 0.25, "batch": 4}
SWEEPS = {
    "s": (0.001, 0.003, 0.01, 0.02, 0.05, 0.1),
    "tau": (1, 2, 4, 8, 16, 32, 64),
    "m": (1, 2, 3, 5, 7, 10),
    "alpha": (0.0, 0.1, 0.25, 0.5, 0.75, 0.9),
    "batch": (1, 2, 4, 8, 16, 32),
}
LABELS = {
    "s": r"$s=\beta\tau L_F$ (no unit)",
    "tau": r"local steps $\tau$",
    "m": r"users a round $rn$ of 10",
    "alpha": r"$\alpha L$ (no unit)",
    "batch": r"batch size $D=D'$",
}
LINES = {
    "measured": ("measured", "exact"),
    "M-ii": ("corrected, (M-ii)", "first-order"),
    "theorem-2": ("corrected, Theorem 2", "hessian-free"),
    "transcribed": ("transcribed, O(1) = 1", "FedAvg"),
}


def grid(scale):
    cells = [
        {"panel": "tau factor", "name": name, "tau": tau}
        for name in ("r < 1, sharp", "r < 1, lemmas", "r = 1")
        for tau in TAUS
    ]
    cells += [
        {"panel": "algorithm", "name": "r < 1, sharp", "tau": tau} for tau in ((3,) if scale == "quick" else (3, 8, 16))
    ]
    return cells + [
        {"panel": "sweep", "name": name, "tau": k} for name, values in SWEEPS.items() for k in range(len(values))
    ]


def cell(*, seed, panel, name, tau):
    if panel == "sweep":
        return [swept(name, SWEEPS[name][tau])]
    from pfl_theory import claims
    from pfl_theory.judging import instance_one

    lemma, full = name.endswith("lemmas"), name == "r = 1"
    claim = claims.get("theorem-4.5", "paper", "lemma-constants" if lemma else "sharp-constants")
    runs = {"rounds": 100 * tau, "runs": 160} if panel == "algorithm" else {"rounds": 100 * tau} if full else {}
    instance = instance_one.refuting(tau, lemma=lemma, participation=2 if full else 1, w0=1.0 if full else 0.0, **runs)
    verdict, corrected = claim.judge(instance), claims.get("theorem-4.5", "corrected", "theorem-2").judge(instance)
    left, right = (
        corrected.lhs,
        verdict.rhs.middle + corrected.lhs.middle - verdict.lhs.middle,
    )  # the whole transcribed side, 4 Phi included
    found = {"ratio": left.middle / right, "low": left.lower / right, "high": left.upper / right}
    return [found | {"outcome": verdict.outcome, "rounds": float(instance.rounds), "corrected": corrected.ratio}]


def users_with_noise():
    """Ten users of curvature 1 and minimisers in [-1, 1], noise +-1/2, wide enough that no run leaves where they are
    quadratic.
    """
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.judging import instance_one
    from pfl_theory.losses.noise import FiniteNoise, Flat
    from pfl_theory.losses.piecewise import Piecewise

    base = instance_one.users(tuple(np.linspace(-1, 1, 10).tolist()), R=128.0, a=1024.0)
    return pfl.Problem.from_curves(Piecewise(base.family.curves, FiniteNoise([[-0.5], [0.5]], [Flat()])))


def swept(name, value):
    """One parameter moved, the others as in BASE."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory import claims
    from pfl_theory.judging import run_constants
    from pfl_theory.rigour.balls import Ball
    from pfl_theory.theory import master

    p = BASE | {name: value}
    problem = users_with_noise()

    def instance(beta):
        batches = {"batch_inner": p["batch"], "batch_outer": p["batch"]}
        algorithm = pfl.PerFedAvg(alpha=p["alpha"], beta=beta, local_steps=p["tau"], participation=p["m"], **batches)
        return claims.Instance(problem, p["alpha"], algorithm=algorithm, rounds=10**9, w0=np.ones(1))

    at = instance(p["s"] / p["tau"] / run_constants.sharp_reading(instance(1.0)).L_F)
    two, own = (claims.get("theorem-4.5", "corrected", form).judge(at) for form in ("theorem-2", "M-ii"))
    terms = run_constants.assumption_terms(at, run_constants.sharp_reading(at))
    bias = (p["alpha"] * 0.5) ** 2 / p["batch"]
    transcribed = float((4.0 * terms.Phi + master.bracket(terms, Ball(bias))).mid)
    found = {
        "measured": two.lhs.middle,
        "M-ii": own.rhs.middle,
        "theorem-2": two.rhs.middle,
        "transcribed": transcribed,
    }
    return {"value": float(value), "outcome": two.outcome} | found


def plot(table):
    fig, axes = plotting.figure(2, 3, width="page", height=4.9)
    tau_factor(axes[0, 0], table)
    for ax, name in zip(axes.flat[1:], SWEEPS, strict=True):
        part = table[(table["panel"] == "sweep") & (table["name"] == name)].sort_values("value")
        for column, (label, look) in LINES.items():
            ax.plot(part["value"], part[column], label=label, **plotting.series_style(look))
        ax.set_xlabel(LABELS[name])
        ax.set_yscale("log")
        if name != "alpha":
            ax.set_xscale("log")
        if name in ("tau", "m", "batch"):
            values = [v for v in SWEEPS[name] if name != "m" or v != 7]
            ax.set_xticks(values, [f"{v:g}" for v in values])
            ax.minorticks_off()
    for ax in (axes[0, 1], axes[1, 0]):
        ax.set_ylabel(r"average of $E\|\nabla F\|^2$ (loss$^2$/unit$^2$)")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig


def tau_factor(ax, table):
    part = table[table["panel"] == "tau factor"]
    shown = {
        "r < 1, sharp": (r"$r<1$, sharp constants", "FedAvg"),
        "r < 1, lemmas": (r"$r<1$, lemmas' constants", "local"),
        "r = 1": ("$r=1$", "exact"),
    }
    for name, (label, look) in shown.items():
        line = part[part["name"] == name]
        ax.plot(
            line["tau"],
            line["ratio"],
            label=label,
            markevery=(0, 2) if name == "r = 1" else 1,
            **plotting.series_style(look),
        )
    line = part[part["name"] == "r < 1, sharp"]
    ax.plot(
        line["tau"],
        line["corrected"],
        label="$r<1$, Theorem 2",
        markevery=(1, 2),
        **plotting.series_style("hessian-free"),
    )
    ax.plot(line["tau"], line["tau"] / 2, color="0.5", linewidth=0.8, linestyle=":", label=r"$\tau/2$")
    runs = table[table["panel"] == "algorithm"]
    # the interval's lower end: its upper end allows for gradients that no run has shown, and its middle means nothing
    look = {"linestyle": "none", "marker": "^", "color": "black", "markersize": 4, "zorder": 5}
    ax.plot(runs["tau"], runs["low"], label="the algorithm itself, at least", **look)
    ax.axhline(1.0, color="black", linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel(r"local steps $\tau$")
    ax.set_ylabel("left / right side, O(1) = 1 (no unit)")
    ax.legend(loc="upper left", fontsize=6, handlelength=2.4, labelspacing=0.3)
    ax.set_ylim(2e-4, 3e7)


def tables(table):
    factor = table[table["panel"] != "sweep"]
    columns = ["panel", "name", "tau", "rounds", "ratio", "low", "high", "corrected", "outcome"]
    sweeps = table[table["panel"] == "sweep"]
    return {"tau-factor": factor[columns], "sweeps": sweeps[["name", "value", *LINES, "outcome"]]}
