"""ELU and Lemma 4.2: F' jumps where a unit, or the adapted point, crosses the kink, so no L_F exists; softplus and tanh
beside it.
"""

from __future__ import annotations

from pfl_theory import plotting

TITLE = "F' of a network of ELU jumps at its kink, so no smoothness constant of F exists; softplus and tanh are smooth"
DATA = ("one neuron on one datum; small networks on random rows",)
CHOICES = {
    "one neuron": "f(w) = (phi(w) - c)^2 / 2, c = 1, alpha = 1/2, F(w) = f(w - alpha f'(w))",
    "kinks": "ELU with a = 1: f' is continuous, f'' jumps at 0, and so does F' there. a = 0.2: f' jumps at 0; F itself "
    "jumps there, and F' where the adapted point crosses 0",
    "one-sided limits": "2 G(h) - G(2h) of what is computed at distances h and 2h = 2e-6; closed forms: "
    "docs/theory/networks.md#5-14",
    "networks": "2-3-3, cross-entropy, four rows, alpha = 1/2, at points where a unit's input of one row is 0: the "
    "jump of grad F across that surface against alpha pi delta <grad u, g> grad u",
}
C, ALPHA, H = 1.0, 0.5, 1e-6
SEEN = 1e-6  # a jump in a figure
WHERE = {"w = 0": "$w=0$", "adapted point = 0": "adapted\npoint 0"}
CURVES = {
    ("elu", 1.0): "ELU, a = 1",
    ("elu", 0.2): "ELU, a = 0.2",
    ("softplus", 1.0): "softplus",
    ("tanh", 1.0): "tanh",
}


def grid(scale):
    neurons = [{"part": "neuron", "activation": name, "a": a} for name, a in CURVES]
    networks = [{"part": "network", "activation": name, "a": 1.0} for name in ("elu", "softplus", "tanh")]
    return neurons + networks


def cell(*, seed, part, activation, a):
    return neuron(activation, a) if part == "neuron" else [network(activation, seed, k) for k in range(20)]


def phi(activation, a):
    """An activation, its slope and its bend."""
    import numpy as np

    def elu(u):
        e = a * np.exp(np.minimum(u, 0.0))
        right = u > 0
        return np.where(right, u, e - a), np.where(right, 1.0, e), np.where(right, 0.0, e)

    def softplus(u):
        s = 1 / (1 + np.exp(-u))
        return np.logaddexp(0.0, u), s, s * (1 - s)

    def tanh(u):
        t = np.tanh(u)
        return t, 1 - t * t, -2 * t * (1 - t * t)

    return {"elu": elu, "softplus": softplus, "tanh": tanh}[activation]


def of_points(activation, a, w):
    """F and F' at many points: as many users with the same f."""
    import numpy as np

    import pfl_theory as pfl

    g = phi(activation, a)
    problem = pfl.Problem.from_functions(
        lambda w: (g(w)[0][:, 0] - C) ** 2 / 2,
        lambda w: (g(w)[0] - C) * g(w)[1],
        lambda w, v: (g(w)[1] ** 2 + (g(w)[0] - C) * g(w)[2]) * v,
        n_users=len(w),
        dim=1,
    )
    points = np.asarray(w, dtype=float)[:, None]
    return problem.meta_value(points, ALPHA), problem.meta_gradient(points, ALPHA)[:, 0]


def crossing(a):
    """w < 0 whose adapted point is 0."""
    import numpy as np
    from scipy.optimize import brentq

    return brentq(lambda w: w - ALPHA * (a * np.expm1(w) - C) * a * np.exp(w), -1.0, 0.0, xtol=1e-15)


def jumps(activation, a):
    """(where, at, what, left limit, right limit), in closed form; smooth activations have none."""
    import numpy as np

    if activation != "elu":
        return [("w = 0", 0.0, "F'", np.nan, np.nan)]
    bend = a * a - C * a  # f''(0-); f'(0-) = -c a, f'(0+) = -c, f''(0+) = 1

    def f_slope(w):
        return w - C if w > 0 else (a * np.expm1(w) - C) * a * np.exp(w)

    # from the left 0 adapts to alpha c a, from the right to alpha c
    at_zero = [
        ("w = 0", 0.0, "F", (ALPHA * C * a - C) ** 2 / 2, (ALPHA * C - C) ** 2 / 2),
        ("w = 0", 0.0, "F'", (1 - ALPHA * bend) * f_slope(ALPHA * C * a), (1 - ALPHA) * f_slope(ALPHA * C)),
    ]
    w = crossing(a)
    e = a * np.exp(w)
    factor = 1 - ALPHA * (e * e + (e - a - C) * e)
    return [*at_zero, ("adapted point = 0", w, "F'", factor * -C * a, factor * -C)]


def neuron(activation, a):
    """F and F' on [-1, 1], their jumps, and difference quotients of F' across the first jump of it."""
    import numpy as np

    w = np.linspace(-1, 1, 400)
    rows = [
        {"kind": "curve", "w": float(at), "F": float(value), "slope": float(slope)}
        for at, value, slope in zip(w, *of_points(activation, a, w), strict=True)
    ]
    for where, at, what, left, right in jumps(activation, a):
        near = of_points(activation, a, at + H * np.array([-2.0, -1.0, 1.0, 2.0]))[("F", "F'").index(what)]
        limits = {"left": 2 * near[1] - near[0], "right": 2 * near[2] - near[3]}
        closed = {"left_closed": left, "right_closed": right}
        rows.append({"kind": "jump", "where": where, "w": at, "of": what, **limits, **closed})
    at = next(j[1] for j in jumps(activation, a) if j[2] == "F'" and (a == 1 or j[0] != "w = 0"))
    for h in 10.0 ** np.arange(-7, 0.01, 0.5):
        behind, ahead = of_points(activation, a, [at - h, at + h])[1]
        rows.append({"kind": "quotient", "w": at, "h": float(h), "quotient": abs(ahead - behind) / (2 * h)})
    return rows


def network(activation, seed, replicate):
    """Jump of grad F across the surface on which the first unit's input of the first row is 0."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.seeds import generator

    rng = generator(seed, "elu kink", replicate)
    x, y = rng.normal(size=(4, 2)), np.array([0, 1, 2, int(rng.integers(3))])
    fed = pfl.Federation.from_arrays([x], [y])
    loss = pfl.losses.MLP(3, (3,), activation)
    problem = pfl.Problem(loss, fed)
    w = loss.initial_weights(fed, weights="gaussian", biases="normal", seed=1000 * seed + replicate)
    (W, b), (V, c) = loss.split(w)
    b[0] = -(W[0] @ x[0])
    h = phi(activation, 1.0)(W @ x[0] + b)[0]
    p = np.exp(V @ h + c - (V @ h + c).max())
    delta = V[:, 0] @ (p / p.sum() - np.eye(3)[y[0]])  # dl/dh of this unit
    across = np.zeros_like(w)  # grad u of its input
    (to_w, to_b), _ = loss.split(across)
    to_w[0], to_b[0] = x[0], 1.0
    g = problem.gradient(problem.adapted(w, ALPHA))[0]
    closed = ALPHA * delta / len(x) * (across @ g) * across if activation == "elu" else np.zeros_like(w)
    normal = across / np.linalg.norm(across)
    near = [problem.meta_gradient(w + k * H * normal, ALPHA)[0] for k in (-2, -1, 1, 2)]
    jump = (2 * near[2] - near[3]) - (2 * near[1] - near[0])
    sizes = {"jump": np.linalg.norm(jump), "jump_closed": np.linalg.norm(closed)}
    return {"kind": "network", "replicate": replicate, **sizes, "off": np.linalg.norm(jump - closed)}


def plot(table):
    import numpy as np

    fig, axes = plotting.figure(1, 3, width="page", height=2.8)
    for k, ((activation, a), label) in enumerate(CURVES.items()):
        mine = table[(table["part"] == "neuron") & (table["activation"] == activation) & (table["a"] == a)]
        look = plotting.series_style(k) | {"marker": "none"}
        curve, edges = mine[mine["kind"] == "curve"], mine[(mine["kind"] == "jump") & (mine["of"] == "F'")]
        edges = edges[abs(edges["right"] - edges["left"]) > SEEN]
        for ax in axes[:2] if activation != "elu" else axes[[0 if a == 1 else 1]]:
            w, slope = curve["w"].to_numpy(), curve["slope"].to_numpy()
            cuts = np.searchsorted(w, edges["w"])
            ax.plot(np.insert(w, cuts, np.nan), np.insert(slope, cuts, np.nan), label=label, **look)
            for _, edge in edges.iterrows():
                end = {"linestyle": "none", "color": look["color"], "markersize": 4.5, "marker": "o", "zorder": 4}
                ax.plot(edge["w"], edge["left"], **end)
                ax.plot(edge["w"], edge["right"], markerfacecolor="white", **end)
                ax.plot([edge["w"]] * 2, [edge["left"], edge["right"]], color="0.4", linewidth=0.7, linestyle=":")
                left = edge["where"] != "w = 0"
                where, middle = WHERE[edge["where"]], (edge["left"] + edge["right"]) / 2
                beside = {"xytext": (-5 if left else 5, 0), "textcoords": "offset points", "va": "center"}
                ax.annotate(where, (edge["w"], middle), ha="right" if left else "left", fontsize=7, **beside)
        part = mine[mine["kind"] == "quotient"]
        axes[2].plot(part["h"], part["quotient"], label=label, markevery=3, **plotting.series_style(k))
    for ax, title in zip(axes[:2], ("kink of $f''$ ($a=1$)", "kink of $f'$ ($a=0.2$)"), strict=True):
        ax.set(title=title, xlabel="$w$ (no unit)", ylabel="$F'(w)$ (no unit)", xlim=(-1, 1))
    axes[2].set(
        title="quotients of $F'$ at a jump",
        xlabel="distance $h$ (no unit)",
        ylabel="$|F'(w+h)-F'(w-h)|/2h$",
        xscale="log",
        yscale="log",
    )
    fig.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def tables(table):
    jumps = table[table["kind"] == "jump"].copy()
    jumps["jump"], jumps["jump_closed"] = jumps["right"] - jumps["left"], jumps["right_closed"] - jumps["left_closed"]
    shown = ["activation", "a", "where", "w", "of", "left", "right", "jump", "jump_closed"]
    networks = table[table["kind"] == "network"].groupby("activation", sort=False)
    summary = networks.agg(
        points=("jump", "size"), least_jump=("jump", "min"), largest_jump=("jump", "max"), largest_error=("off", "max")
    )
    return {"jumps": jumps[shown], "networks": summary.reset_index()}
