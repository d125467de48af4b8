"""Corollary 4.6: the average squared gradient with the corollary's parameters, and how many rounds an accuracy
needs.
"""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "Corollary 4.6: with the corollary's parameters the rate is sqrt(eps) when some users take part, "
    "and rounds grow like 1/eps²"
)
DATA = ("instance I of docs/theory/theorem-4-5.md#9-5-1",)
CHOICES = {
    "parameters": "tau = eps^(-1/2), K = eps^(-3/2), beta = eps, w_0 = 1; L = gamma = 1, Delta = 1/2 (the ratio's "
    "only units)",
    "left side": "exact expectation by recursion, enclosed",
    "rounds": "least K over all constant beta and tau, exact; the average over the server's models w_k",
    "recipe": "Theorem 2 with its five terms at eps/5 each, v = gamma = Delta = L = 1",
}
PANELS = {"n=2, r=1/2": (2, 1), "n=50, r=0.2": (50, 10), "r=1": (2, 2)}
LOOKS = {"n=2, r=1/2": "FedAvg", "n=50, r=0.2": "local", "r=1": "exact"}


def grid(scale):
    fine = 1 if scale == "quick" else 2
    accuracies = [10 ** (-k / fine) for k in range(2 * fine, 8 * fine + 1)]
    cells = [{"panel": "parameters", "users": users, "epsilon": e} for users in PANELS for e in accuracies]
    cells += [
        {"panel": "rounds", "users": "n=2, r=1/2", "epsilon": e}
        for e in (0.09, 0.05, 0.02, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
    ]
    return cells + [
        {"panel": "recipe", "users": users, "epsilon": 10.0**-k}
        for users in ("n=50, r=0.2", "n=50, r=1")
        for k in range(2, 7)
    ]


def cell(*, seed, panel, users, epsilon):
    import numpy as np

    from pfl_theory import claims
    from pfl_theory.judging import instance_one
    from pfl_theory.theory import rates

    if panel == "recipe":
        found = rates.recipe(epsilon, n=50, m=10 if users.endswith("0.2") else 50, delta=1.0)
        return [{"s": found.s, "tau": found.tau, "rounds": float(found.rounds)}]
    if panel == "rounds":
        least = rates.least_rounds(epsilon)
        return [
            {
                "least": float(np.mean(least)),
                "necessary": 1 / epsilon**2,
                "sufficient": (1 + epsilon) / epsilon**2,
                "corollary": epsilon**-1.5,
            }
        ]
    n, m = PANELS[users]
    tau, K, beta = rates.parameters(epsilon)
    centres = (-1.0, 1.0) if n == 2 else tuple(np.resize([-1.0, 1.0], n).tolist())
    base = instance_one.instance(tau=tau, rounds=K, beta=beta, c=centres, participation=m, w0=1.0)
    instance = claims.Instance(base.problem, 0.0, algorithm=base.algorithm, rounds=K, w0=base.w0, epsilon=epsilon)
    paper = claims.get("corollary-4.6").judge(instance)
    corrected = claims.get("corollary-4.6", "corrected", "all-users" if m == n else "some-users").judge(instance)
    found = {
        "tau": tau,
        "K": float(K),
        "measured": paper.lhs.middle,
        "over_epsilon": paper.ratio,
        "over_root": paper.lhs.middle / epsilon**0.5,
    }
    return [
        found | {"corrected": corrected.rhs.middle, "outcome": paper.outcome, "corrected_outcome": corrected.outcome}
    ]


def plot(table):
    fig, axes = plotting.figure(1, 3, width="page", height=2.9)
    part = table[table["panel"] == "parameters"]
    for users, look in LOOKS.items():
        line = part[part["users"] == users].sort_values("epsilon")
        axes[0].plot(line["epsilon"], line["measured"], label=users, **plotting.series_style(look))
        axes[1].plot(line["epsilon"], line["over_epsilon"], label=users, **plotting.series_style(look))
    bound = part[part["users"] == "n=2, r=1/2"].sort_values("epsilon")
    axes[0].plot(
        bound["epsilon"], bound["corrected"], label="corrected bound, n=2, r=1/2", **plotting.series_style("bound")
    )
    axes[0].set_ylabel(r"average of $E\|\nabla F\|^2$ (loss$^2$/unit$^2$)")
    axes[1].set_ylabel(r"average of $E\|\nabla F\|^2$ / $\varepsilon$ (no unit)")
    axes[1].axhline(1.0, color="black", linewidth=0.8)
    rounds = table[table["panel"] == "rounds"].sort_values("epsilon")
    names = {
        "least": ("least $K$, exact", "exact"),
        "sufficient": ("enough, by (M-i)", "first-order"),
        "corollary": ("corollary", "FedAvg"),
    }
    for column, (label, look) in names.items():
        axes[2].plot(
            rounds["epsilon"], rounds[column] / rounds["necessary"], label=label, **plotting.series_style(look)
        )
    axes[2].axhline(1.0, color="black", linewidth=0.8)
    axes[2].set_ylabel(r"rounds $K$ / $(2\Delta L p\gamma^2/\varepsilon^2)$ (no unit)")
    axes[2].legend(loc="lower right", fontsize=6.5)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(r"accuracy $\varepsilon$ (loss$^2$/unit$^2$)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def tables(table):
    rates = table[table["panel"] == "parameters"]
    rounds = table[table["panel"] == "rounds"]
    recipes = table[table["panel"] == "recipe"]
    columns = [
        "users",
        "epsilon",
        "tau",
        "K",
        "measured",
        "over_epsilon",
        "over_root",
        "corrected",
        "outcome",
        "corrected_outcome",
    ]
    return {
        "rates": rates[columns],
        "rounds": rounds[["epsilon", "least", "necessary", "sufficient", "corollary"]],
        "recipe": recipes[["users", "epsilon", "s", "tau", "rounds"]],
    }
