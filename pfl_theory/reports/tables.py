"""A report as sections of rows and sentences: what text, HTML, LaTeX and the frame are made from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .along import Measured
from .bound import WORDS, Bound, Roads
from .recommend import Recommendation
from .report import Report
from .users import Users

COLUMNS = ("section", "quantity", "value", "known", "words")
NOTHING = 1e-280  # what a ball of 0 keeps against underflow
CLOSE = 1e-9  # relative: what four digits do not round to the safe side
FAR = 1e12  # rounds that nobody runs
EACH = 12  # so many users are listed one by one


TITLE = "Steps that the theorem allows"


class Row(NamedTuple):
    """A quantity, its value, how it is known, and what it is in words."""

    quantity: str
    value: float | None
    known: str
    words: str


class Section(NamedTuple):
    """Rows under a title, sentences before and after them."""

    title: str
    before: tuple[str, ...]
    rows: tuple[Row, ...]
    after: tuple[str, ...]


def number(value: float | None, known: str = "") -> str:
    """Four digits; a bound is rounded to its safe side.

    Examples
    --------
    >>> number(0.123412, "upper"), number(0.123456, "at most"), number(0.123456), number(None), number(math.inf)
    ('0.1235', '0.1234', '0.1235', '-', 'infinite')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite"
    if abs(value) < NOTHING:
        return "0"
    if known == "chosen" and value == int(value):
        return f"{value:.0f}"
    text = f"{value:.4g}"
    side = {"upper": 1, "at most": -1}.get(known, 0)
    if side and (float(text) - value) * side < -CLOSE * abs(value):
        step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
        text = f"{value + side * step / 2:.4g}"
    return text


def rows(report: Report) -> list[dict[str, Any]]:
    """Plain rows for a frame."""
    return [dict(zip(COLUMNS, (s.title, *row), strict=True)) for s in sections(report) for row in s.rows]


def as_data(report: Report) -> dict[str, Any]:
    """Everything as plain data for JSON; a number that is not finite becomes null."""
    advice = report.advice
    data = {
        "name": report.name,
        "facts": report.facts,
        "failure": report.failure,
        "bounds": [
            {**vars(bound), "terms": [term._asdict() for term in bound.terms], "vacuous": bound.vacuous}
            for bound in report.bounds
        ],
        "sections": [
            {"title": s.title, "before": s.before, "rows": [row._asdict() for row in s.rows], "after": s.after}
            for s in sections(report)
        ],
        "recommended": None
        if advice is None
        else {
            "reached": advice.reached,
            "reason": advice.reason,
            "choices": [choice._asdict() for choice in advice.choices],
        },
    }
    return _plain(data)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sections(report: Report) -> list[Section]:
    """Everything that a report says, in order."""
    found = [_constants(report), _steps(report)]
    if report.users is not None:
        found.append(_users(report.users, report.facts["law"]))
    found += [_roads(report.roads), _bounds(report)]
    if report.measured is not None:
        found.append(_measured(report.measured))
    if report.advice is not None:
        found.append(_advice(report.advice))
    return found


def heading(report: Report) -> list[str]:
    """The setting in sentences."""
    f = report.facts
    data = f"{f['users']} users" + (f", {f['rows']} rows" if f["rows"] is not None else "")
    law = {"sample": " (a sample of their laws)", "exact": " (their laws themselves)", None: ""}[f["law"]]
    first = f"{data}{law}; loss {f['loss']}, dimension d = {f['dimension']}."
    tau, beta = f.get("tau"), f.get("beta")
    steps = f"inner step alpha = {f['alpha']:.6g}" + (f", meta step beta = {beta:.6g}" if beta is not None else "")
    if tau is not None:
        steps += f", tau = {tau} local steps, {f['m']} of {f['users']} users a round"
    batches = [
        f"{name} = {'exact' if f[key] is None else f[key]}"
        for name, key in (("D", "batch_inner"), ("D'", "batch_outer"), ("D''", "batch_hessian"), ("batch", "batch"))
        if key in f
    ]
    rounds = f"K = {f['rounds']} rounds" if f["rounds"] is not None else "the number of rounds K is open"
    return [first, f"{f['algorithm']}: {steps}; {rounds}." + (f" Batches: {', '.join(batches)}." if batches else "")]


def _constants(report: Report) -> Section:
    made = tuple(Row(c.symbol, c.value, c.how, f"{c.words}; {c.reason}") for c in report.constants)
    before = (
        "The largest over users. exact: the supremum itself; upper: a proved upper bound; none: no number that a "
        "bound may use.",
    )
    return Section("Constants of the assumptions", before, made, () if made else ("No constants are stated.",))


def _steps(report: Report) -> Section:
    steps, f = report.steps, report.facts
    if steps is None:
        return Section(TITLE, (), (), ("Not known: they follow from L.",))

    def against(limit: str, within: bool | None, given: float) -> str:
        shown = number(given, "at most" if within else "upper")
        return f"{limit}; this one, {shown}, is {'within' if within else 'too large'}"

    made = [Row("alpha", steps.alpha, "at most", against("1/L", steps.alpha_within, f["alpha"]))]
    if steps.beta is None or steps.smoothness is None:
        return Section(TITLE, (), tuple(made), ("beta: not known, for L_F, the largest curvature of F, is not.",))
    made += [
        Row("beta", steps.beta, "at most", against("1/(10 tau L_F)", steps.beta_within, f["beta"])),
        Row("L_F", steps.smoothness, "upper", "largest curvature of F, the loss after one inner step"),
    ]
    return Section(TITLE, (), tuple(made), ())


def _users(users: Users, law: str) -> Section:
    made: list[Row] = []
    of = "of each user's data to the average of all"
    for name, values, known, words in (
        ("TV", users.tv, "exact", f"total variation {of}: 0 alike, 1 no row in common"),
        ("TV of labels", users.labels, "exact", "the same, of the users' label laws alone"),
        ("W1", users.w1, "upper", f"Wasserstein-1 of the features {of}, certified"),
    ):
        made += _spread(users, name, values, known, words)
    if users.M is not None and users.P is not None:
        made.append(Row("sqrt M", math.sqrt(users.M), "upper", "root of M = (1/n) sum_i W1(user i, average)^2"))
        made.append(Row("sqrt P", math.sqrt(users.P), "upper", "root of P = (1/(2 n^2)) sum_ij W1(user i, user j)^2"))
    after = list(users.left_out)
    if users.floor is not None:
        floor = users.floor
        at = f"{floor.users} users, {floor.rows} rows each"
        made.append(Row("W1 of samples", floor.observed, "measured", f"mean over pairs of users; {at}"))
        made.append(
            Row("noise floor", floor.floor, "measured", f"the same after dealing rows at random: sampling; {at}")
        )
        made.append(Row("p-value", floor.p_value, "measured", "small: the users differ by more than sampling"))
    if users.tv is not None and users.tv.size > 1 and float(users.tv.min()) >= 1 - 1 / len(users.tv) - 1e-9:
        after.append("TV: no row is common to two users, so TV says only that rows are distinct; look at labels and W1")
    if law == "sample":
        after.append("these rows are samples: part of every distance is noise of sampling")
    return Section("Distances between the users' data", (), tuple(made), tuple(_sentence(a) for a in after))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _spread(users: Users, name: str, values: NDArray | None, known: str, words: str) -> list[Row]:
    if values is None:
        return []
    if len(values) <= EACH:
        return [
            Row(name, float(value), known, f"user {user!r}" + (f": {words}" if k == 0 else ""))
            for k, (user, value) in enumerate(zip(users.names, values, strict=True))
        ]
    farthest = users.names[int(np.argmax(values))]
    return [
        Row(f"{name}, median", float(np.median(values)), known, words),
        Row(f"{name}, largest", float(values.max()), known, f"user {farthest!r}"),
    ]


def _roads(roads: Roads) -> Section:
    best = roads.best
    made = [
        Row(
            f"gamma_F, {road.name}",
            road.gamma_F,
            "upper",
            f"gamma_G = {number(road.gamma_G, 'upper')}, gamma_H = {number(road.gamma_H, 'upper')}: {road.how}"
            + (" (taken: the smallest)" if road is best else ""),
        )
        for road in roads.open
    ]
    made += [Row(f"gamma_F, {name}", None, "none", why) for name, why in roads.closed.items()]
    before = (
        "gamma_F: how far the gradients of the users' F_i lie from their mean, for every model that the run can meet, "
        "from gamma_G and gamma_H by each road: "
        + "; ".join(f"{name}: {words}" for name, words in WORDS.items())
        + ".",
    )
    return Section("How far apart the users' gradients can be", before, tuple(made), () if made else ("Not known.",))


WHERE = (
    "x = beta L_F; Phi = (F(w_0) - F*)/(beta tau K), F* the lowest value of F; p = (n - m)/(m (n - 1)) for m of n "
    "users a round, 0 for all of them; v^2 and b^2 bound variance and squared bias of a local step's direction; "
    "gamma_F as above."
)


def _bounds(report: Report) -> Section:
    title = "What is proved of the average squared gradient of F"
    if not report.bounds:
        return Section(title, (), (), (f"No bound: {report.failure}",))
    best = report.bound
    assert best is not None
    made: list[Row] = []
    for bound in report.bounds:
        made += [Row(t.symbol, t.value, "upper", f"{_share(t.value, bound)}{t.words}") for t in bound.terms]
        made.append(Row(f"{bound.name}: sum", bound.value, "upper", _at(report, bound)))
    made.append(Row("trivial bound", best.trivial, "upper", "((1 + alpha L) B)^2: true before any theorem"))
    return Section(
        title,
        (f"E||grad F||^2 on average over rounds and local steps is at most the sum. {WHERE}",),
        tuple(made),
        (*conclusions(report),),
    )


def _share(value: float, bound: Bound) -> str:
    return f"{100 * value / bound.value:.0f} %: " if bound.value > 0 else ""


def _at(report: Report, bound: Bound) -> str:
    if report.rounds_given:
        return f"at K = {bound.rounds}"
    rest = sum(term.value for term in bound.terms[1:])
    first = number(bound.start_times_rounds, "upper")
    return f"at K = {bound.rounds}, for no K is given; as a function of K: {number(rest, 'upper')} + {first}/K"


def conclusions(report: Report) -> list[str]:
    """Whether the bound says anything, what dominates, what would lower it, and what was measured."""
    best = report.bound
    assert best is not None
    top = best.dominating
    if best.vacuous:
        told = [
            f"{best.name} is vacuous here: {number(best.value, 'upper')} is above the trivial bound "
            f"{number(best.trivial, 'upper')}."
        ]
    else:
        ratio = best.trivial / best.value if best.value > 0 else math.inf
        told = [f"{best.name} says something: it is {number(ratio, 'at most')} times below the trivial bound."]
    if best.value > 0:
        share = 100 * top.value / best.value
        told.append(f"{share:.0f} % of it is {top.symbol}: {top.words}. To lower it: {top.lower}.")
        rest = sum(term.value for term in best.terms[1:])
        if top is best.terms[0] and rest > 0:
            enough = best.start_times_rounds / rest
            if enough < FAR:
                told.append(
                    f"From K = {enough:.3g} rounds on the other terms, {number(rest, 'upper')} in all, are larger."
                )
    looked = report.measured
    if looked is not None and looked.local is not None and looked.status == "finished":
        ratio = best.value / looked.local if looked.local > 0 else math.inf
        told.append(
            f"The run measured {number(looked.local)}: the bound is {number(ratio)} times that. One run is no "
            "expectation; verdicts (pfl.claims) judge many."
        )
    return told


def _measured(looked: Measured) -> Section:
    made: list[Row] = []
    for name, value, words in (
        ("||grad F||^2, local", looked.local, "average over the recorded local steps: what the bound is about"),
        ("||grad F||^2, server", looked.server, "average over the server's recorded models"),
    ):
        if value is not None:
            made.append(Row(name, value, "measured", words))
    for name, field, words in (
        ("||grad F||^2", "gradient2", "squared gradient of F"),
        ("gamma_G", "gamma_G", "spread of the users' gradients"),
        ("gamma_H", "gamma_H", "spread of the users' Hessians"),
        ("gamma_F", "gamma_F", "spread of the gradients of the users' F_i"),
        ("curvature", "curvature", "largest ||Hess f_i|| by power iteration, from below"),
        ("variance", "variance", "of a local step's direction, mean over users"),
    ):
        found = [(at.where, value) for at in looked.points if (value := getattr(at, field)) is not None]
        found = [(where, value) for where, value in found if not math.isnan(value)]
        if found:
            each = ", ".join(f"{where} {number(value)}" for where, value in found)
            made.append(Row(name, max(value for _, value in found), "measured", f"{words}; largest of: {each}"))
    before = "Measured, not proved: at these points only; no bound uses it."
    state = f"Run: {looked.status}" + (f", {looked.records} records" if looked.records else "") + "."
    return Section("What was measured", (before, state), tuple(made), tuple(_sentence(n) for n in looked.notes))


def _advice(advice: Recommendation) -> Section:
    title = f"To prove an average squared gradient of at most {advice.epsilon:g}"
    return Section(title, (), tuple(choice_rows(advice)), (_sentence(advice.reason),))


def choice_rows(advice: Recommendation) -> list[Row]:
    """What is recommended, a number a row."""
    if advice.algorithm is None or advice.bound is None:
        return []
    best = advice.choices[0]
    batches = "batches of the inner, outer and Hessian gradient (exact: all rows)"
    sizes = ", ".join("exact" if s is None else str(s) for s in best[:3])
    return [
        Row("alpha", advice.alpha, "chosen", "inner step"),
        Row("K", float(best.rounds), "chosen", "rounds"),
        Row("tau", float(best.tau), "chosen", "local steps a round"),
        Row("beta", best.beta, "chosen", "meta step"),
        Row("D, D', D''", None, "chosen", f"{batches}: {sizes}"),
        Row("gradients", best.gradients, "cost", "of single rows, all users and rounds, Hessian products included"),
        Row("bytes a user", best.bytes_a_user, "cost", "models sent and received, 8 bytes a number, all rounds"),
        Row("Theorem 2", advice.bound.value, "upper", "what is proved of the average squared gradient"),
        Row("4.87 b^2", best.bias, "upper", "of it the bias, which no number of rounds lowers"),
    ]
