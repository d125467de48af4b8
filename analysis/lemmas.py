"""How tight the lemmas are: left side over right side on witnesses as alpha L grows, and on random instances, for every
form.
"""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "The lemmas, as transcribed and sharpened: left side over right side on witnesses and on random instances, "
    "against alpha L"
)
DATA = (
    "witnesses of docs/theory/smoothness.md and batches.md",
    "random piecewise users and random rows, as the claims draw them",
)
CHOICES = {
    "witness": "one for each form (convex for the convex form), L = 1; its other parameters come near the largest "
    "ratio at that alpha L",
    "Lemma 4.2": "alpha rho B = 100 for the forms in any dimension; d = 1: rho B = 4; convex: alpha rho B = L, "
    "where no tooth is needed",
    "Lemma 4.3, bias": "sigma_G = D = 1; as transcribed alpha rho = 100; sharp: rho = 4; convex: max(4, "
    "0.4/alpha), so that f'' comes to L",
    "Lemma 4.3, error": "sigma_G = 0.001, alpha sigma_H = 0.02, batches of one",
    "Lemma 4.4": "gamma_H = 0.016, gamma_G = (1 + alpha)^2 alpha gamma_H/64, worst as transcribed; convex: gamma_G "
    "= 0.0001, gamma_H = 0.01",
    "floor as transcribed": "||grad F||^2 over alpha^2 L^2 B^2: the O(1) that is needed",
    "no alpha": "first-order bias and the Hessian-free error: the witness has one step of its own, so one marker",
    "random": "faint points: the largest ratio of a form's random instances in every tenth of alpha L; outside the "
    "axes: in the table only",
}
ALPHAS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
PANELS = {
    "lemma-4.2": "Lemma 4.2: smoothness",
    "lemma-4.3-bias": "Lemma 4.3: bias",
    "lemma-4.3-error": "Lemma 4.3: error",
    "lemma-4.4": "Lemma 4.4: heterogeneity",
    "hessian-free-error": "HF: error of the product",
    "first-order-bias": "FO: bias of the direction",
    "first-order-floor": "FO: gradient at rest",
}
LOOKS = {  # colour, line and marker of a form, and how large the marker is: lines that lie on each other stay visible
    "paper": ("as transcribed", "FedAvg", 5.0),
    "sharp": ("sharp", "exact", 7.5),
    "sharp, convex": ("sharp, convex users", "first-order", 3.5),
    "sharp, one-dimensional": (r"sharp, $d=1$", "hessian-free", 5.5),
    "sharp, third-order": (r"sharp, $D^3f$ Lipschitz", "local", 4.0),
}
FILLED = 5.0  # largest marker that is filled
ALPHA_LIMITS, LIMITS = (0.04, 1.25), (0.004, 1.6)  # of both axes
TICKS = (0.05, 0.1, 0.25, 0.5, 1.0)


def grid(scale):
    from pfl_theory import claims

    count, blocks = (60, 1) if scale == "quick" else (1_000, 4)
    forms = [(c.name, c.version, c.form) for c in claims.all_claims() if c.name in PANELS]
    cells = [{"statement": n, "version": v, "form": f, "part": "witness", "size": 0, "block": 0} for n, v, f in forms]
    return cells + [
        {"statement": n, "version": v, "form": f, "part": "random", "size": count // blocks, "block": k}
        for n, v, f in forms
        for k in range(blocks)
    ]


def cell(*, seed, statement, version, form, part, size, block):
    from pfl_theory import claims
    from pfl_theory.seeds import generator

    claim = claims.get(statement, version, form)
    if part == "witness":
        return [judged(claim, instance) for instance in witnesses(claim)]
    rng = generator(seed, "lemmas", statement, version, form, block)
    return [judged(claim, claim.random_instance(rng)) for _ in range(size)]


def witnesses(claim):
    """The witness at every alpha L where its maker takes an alpha, else as it stands."""
    make = maker(claim.name, claim.version, claim.form)
    return [claim.witness()] if make is None else [make(alpha) for alpha in ALPHAS]


def maker(name, version, form):
    """What makes the witness of a form at alpha (L = 1); None where it has a step of its own."""
    from pfl_theory.claims import first_order_floor, lemma_4_2, lemma_4_3_bias, lemma_4_3_error, lemma_4_4

    makers = {
        ("lemma-4.2", "paper", ""): lambda alpha: lemma_4_2.witness(alpha, rho=100 / alpha),
        ("lemma-4.2", "sharp", ""): lambda alpha: lemma_4_2.witness(alpha, rho=100 / alpha),
        ("lemma-4.2", "sharp", "one-dimensional"): lemma_4_2.witness,
        ("lemma-4.2", "sharp", "convex"): lambda alpha: lemma_4_2.convex_witness(alpha, rho=1 / alpha),
        ("lemma-4.3-bias", "paper", ""): lambda alpha: lemma_4_3_bias.witness(alpha, rho=100 / alpha),
        ("lemma-4.3-bias", "sharp", ""): lemma_4_3_bias.witness,
        ("lemma-4.3-bias", "sharp", "convex"): lambda alpha: lemma_4_3_bias.witness(
            alpha, rho=max(4.0, 0.4 / alpha), convex=True
        ),
        ("lemma-4.3-error", "paper", ""): lambda alpha: lemma_4_3_error.witness(alpha, sigma_H=0.02 / alpha),
        ("lemma-4.3-error", "sharp", ""): lambda alpha: lemma_4_3_error.witness(alpha, sigma_H=0.02 / alpha),
        ("lemma-4.3-error", "sharp", "convex"): lambda alpha: lemma_4_3_error.witness(
            alpha, sigma_H=0.02 / alpha, convex=True
        ),
        ("lemma-4.4", "paper", ""): lambda alpha: lemma_4_4.witness(alpha, gamma_G=apart(alpha)),
        ("lemma-4.4", "sharp", ""): lambda alpha: lemma_4_4.witness(alpha, gamma_G=apart(alpha)),
        ("lemma-4.4", "sharp", "convex"): lemma_4_4.convex_witness,
        ("first-order-floor", "paper", ""): first_order_floor.still_witness,
        ("first-order-floor", "sharp", ""): first_order_floor.witness,
        ("first-order-floor", "sharp", "convex"): first_order_floor.convex_witness,
    }
    return makers.get((name, version, form))


def apart(alpha):
    """gamma_G where ((1 + alpha)^2 gamma_G + alpha gamma_H)^2 is the largest part of 3 (alpha gamma_H)^2 + 192
    gamma_G^2, for gamma_H = 0.016.
    """
    return (1 + alpha) ** 2 * alpha * 0.016 / 64


def judged(claim, instance):
    """Where an instance stands, and how it is judged."""
    verdict = claim.judge(instance)
    return {
        "alpha_L": instance.alpha * instance.constants["L"].max(),
        "outcome": verdict.outcome,
        "ratio": verdict.ratio,
    }


def plot(table):
    fig, axes = plotting.figure(2, 4, width="page", height=4.4, sharex=True, sharey=True)
    *panels, corner = axes.flat
    for ax, (statement, title) in zip(panels, PANELS.items(), strict=True):
        mine = table[table["statement"] == statement]
        for kind, (label, series, size) in LOOKS.items():
            look = plotting.series_style(series)
            draw(
                ax,
                mine[kinds(mine) == kind],
                label,
                look | {"markersize": size, "markerfacecolor": "none" if size > FILLED else look["color"]},
            )
        ax.axhline(1.0, color="black", linewidth=0.6, zorder=1)
        ax.set_title(title)
    for ax in (*axes[1, :3], axes[0, 3]):
        ax.set_xlabel(r"$\alpha L$ (no unit)")
    axes[0, 3].tick_params(labelbottom=True)  # nothing is below it
    for ax in axes[:, 0]:
        ax.set_ylabel("left side / right side (no unit)")
    axes[0, 0].set(xscale="log", xlim=ALPHA_LIMITS, yscale="log", ylim=LIMITS)
    axes[0, 0].set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes[0, 0].set_xticks([], minor=True)
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    corner.set_axis_off()
    shown = {label: handle for ax in panels for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    names = [label for label, *_ in LOOKS.values() if label in shown]
    faint = corner.plot([], [], color="0.6", marker="o", markersize=3, linestyle="none")
    corner.legend(
        [*(shown[name] for name in names), *faint],
        [*names, "worst random, by\ntenths of $\\alpha L$"],
        loc="center left",
    )
    return fig


def draw(ax, part, label, look):
    """The witness as a line, or a marker where it has one step; the worst random instance in every tenth of alpha L as
    faint points.
    """
    witness, random = part[part["part"] == "witness"], part[part["part"] == "random"]
    if len(witness):
        ax.plot(witness["alpha_L"], witness["ratio"], label=label, **look)
    inside = random[(random["alpha_L"] > ALPHA_LIMITS[0]) & (random["alpha_L"] <= 1) & (random["ratio"] > LIMITS[0])]
    if len(inside):
        worst = inside.loc[inside.groupby((inside["alpha_L"] * 10).astype(int).clip(upper=9))["ratio"].idxmax()]
        faint = look | {
            "linestyle": "none",
            "alpha": 0.45,
            "markersize": 3,
            "markerfacecolor": look["color"],
            "markeredgewidth": 0,
        }
        ax.plot(worst["alpha_L"], worst["ratio"], zorder=1.5, **faint)


def kinds(table):
    """Version and form of every row in a word or two."""
    return table["version"] + table["form"].map(lambda form: f", {form}" if isinstance(form, str) and form else "")


def tables(table):
    import pandas as pd

    found = []
    named = table.assign(form=table["form"].map(lambda form: form if isinstance(form, str) else ""))
    for (statement, version, form), rows in named.groupby(["statement", "version", "form"], sort=False):
        witness, random = rows[rows["part"] == "witness"], rows[rows["part"] == "random"]
        common = {"statement": statement, "version": version, "form": form}
        reached = {"witness_least": witness["ratio"].min(), "witness_most": witness["ratio"].max()}
        worst = random["ratio"].max()
        at = random.loc[random["ratio"].idxmax(), "alpha_L"] if random["ratio"].notna().any() else None
        counts = {
            "judged": len(rows),
            **{outcome: int((rows["outcome"] == outcome).sum()) for outcome in ("HOLDS", "INCONCLUSIVE", "VIOLATED")},
        }
        found.append(common | reached | {"random_most": worst, "random_most_alpha_L": at} | counts)
    witnesses_only = named[named["part"] == "witness"][["statement", "version", "form", "alpha_L", "ratio", "outcome"]]
    return {"tightness": pd.DataFrame(found), "witnesses": witnesses_only}
