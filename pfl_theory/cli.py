"""Command line: ``pfl-theory list | judge | attack | pages | distances | report | datasets | doctor``.

Exit codes: 0 = judged, whatever the outcome; 1 with ``--expect`` when it is another outcome; 2 = bad input (one line,
no traceback).
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from .errors import InputError, one_of

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Judge the theory of personalised federated learning.",
)
JSON = typer.Option(False, "--json", help="Print JSON instead of a table.")


WIDE = 120  # characters a line where tables go into a file or a pipe


def _print(rows: list[dict[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("claim", "version"))
    for row in rows:
        table.add_row(*("" if row.get(c) is None else str(row.get(c)) for c in columns))
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


@app.command("list")
def list_claims(as_json: bool = JSON) -> None:
    """All claims: name, version, form, what they say, how tight they are."""
    from . import claims

    rows = [
        {
            "claim": c.name,
            "version": c.version,
            "form": c.form,
            "statement": c.statement,
            "tight": _tightness(c),
            "instances": ", ".join(
                ["witness", *(case.name for case in c.cases), *([] if c.random_instance is None else ["random:N"])]
            ),
        }
        for c in claims.all_claims()
    ]
    _print(rows, as_json, ("claim", "version", "form", "statement", "tight", "instances"))


def _tightness(claim: Any) -> str:
    if claim.expected == "VIOLATED":
        return f"refuted: {claim.open_constant or 'ratio'} {claim.known_ratio:.4g} needed"
    return "tight" if claim.tight else f"ratio {claim.known_ratio:.4f} reached"


@app.command()
def judge(
    name: str = typer.Argument(help="A claim's name, such as lemma-4.2"),
    version: str = typer.Option(
        "", help="paper (as transcribed), sharp or corrected; without version and form all forms are judged"
    ),
    form: str = typer.Option("", help="A form's name, such as one-dimensional"),
    instance: str = typer.Option("witness", help="A named instance, random:N, or a file written by Instance.save"),
    control: bool = typer.Option(
        False, "--control", help="Right side times 0.99 of the ratio known for this instance: must come out VIOLATED"
    ),
    expect: str = typer.Option("", help="Exit with 1 unless this is the outcome"),
    seed: int = typer.Option(0, help="Seed of random instances"),
    as_json: bool = JSON,
) -> None:
    """Judge a claim: both sides, the outcome, and why. Without version and form: every form of the statement."""
    from . import claims

    if expect:
        one_of("--expect", expect, claims.OUTCOMES)
    wanted = [claims.get(name, version, form)] if version else _of_form(name, form)
    single = bool(version or form) and len(wanted) == 1
    in_file, drawn = instance.endswith((".json", ".npz")), instance.startswith("random:")
    if control and (in_file or drawn):
        raise InputError(f"--control --instance {instance}: no ratio is known there; {_controlled(wanted[0])}")
    given = claims.Instance.load(instance) if in_file else None
    if not single and not in_file and not drawn:  # forms that have such an instance
        named = [claim for claim in wanted if instance in ("witness", *(case.name for case in claim.cases))]
        wanted = named or wanted
    if not single and drawn:
        wanted = [claim for claim in wanted if claim.random_instance is not None] or wanted
    verdicts = []
    for claim in wanted:
        with _stage(f"{claim.name} ({claim.version}{', ' * bool(claim.form)}{claim.form})"):
            verdicts.append(_judged(claim, instance, given, control, seed, single))
    if as_json:
        rows = [verdict.row() for verdict in verdicts]
        typer.echo(json.dumps(rows[0] if single else rows, indent=1))
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
    missed = [verdict.outcome for verdict in verdicts if expect and verdict.outcome != expect]
    if missed:
        typer.echo(f"expected {expect}, judged {missed[0]}", err=True)
        raise typer.Exit(1)


def _of_form(name: str, form: str) -> list[Any]:
    """A statement in all its forms, or in those of one name in every version."""
    from . import claims

    every = claims.forms(name)
    found = [claim for claim in every if claim.form == form] if form else every
    return found or [claims.get(name, "paper", form)]  # which says what there is


def _judged(claim: Any, instance: str, given: Any, control: bool, seed: int, single: bool) -> Any:
    from . import claims

    if control:
        return claim.control(claim.case(instance))
    if instance.startswith("random:"):
        count = instance.removeprefix("random:")
        if not count.isdigit() or int(count) < 1:
            raise InputError(f"--instance {instance}: after random: comes a number of instances, at least 1")
        return claims.judge_random(claim, int(count), seed)
    if given is not None:  # one form judged alone says in an error what it lacks, among others it is NOT_APPLICABLE
        return claim.judge(given) if single else claims.judged_on([claim], given)[0]
    return claim.judge(claim.case(instance).make())


def _print_verdict(verdict: Any) -> None:
    typer.echo(str(verdict))
    if verdict.lhs is not None and verdict.rhs is not None:
        typer.echo(f"  left side  [{verdict.lhs.lower:.12g}, {verdict.lhs.upper:.12g}]   {verdict.scope}")
        least = "" if verdict.level is None else "at least "
        typer.echo(
            f"  right side [{verdict.rhs.lower:.12g}, {verdict.rhs.upper:.12g}]   ratio {least}{verdict.ratio:.9g}"
        )


def _controlled(claim: Any) -> str:
    known = ["witness", *(case.name for case in claim.cases if case.ratio is not None)]
    return f"a control of {claim.name} judges {', '.join(known)}"


@app.command()
def attack(
    name: str = typer.Argument(help="A claim's name, such as lemma-4.2, or all"),
    seconds: float = typer.Option(60.0, help="When to stop; the sequence of instances depends on the seed alone"),
    seed: int = typer.Option(0, help="Seed of the instances"),
    number: int | None = typer.Option(None, help="Only the instance of this number, as a failure names it"),
    save: str = typer.Option("", help="With --number: write the instance to this JSON file"),
    as_json: bool = JSON,
) -> None:
    """Try every statement as a hostile referee: strange instances, judged again in 50 digits. Exit 1 on failures."""
    from . import adversary

    alone = number is not None
    if number is not None and number < 0:
        raise InputError(f"--number {number}: numbers of instances start at 0")
    names = adversary.claims_of([name])
    if (alone or save) and len(names) != 1:
        raise InputError("--number: the instance of one statement; name it")
    if save and not alone:
        raise InputError("--save: which instance? give --number")
    if save:
        typer.echo(f"written: {adversary.instance(names[0], seed, number or 0).save(save)}")
    report = adversary.attack(names, seconds, seed, most=1 if alone else None, first=number or 0)
    if as_json:
        typer.echo(json.dumps({"rows": report.rows(), "failures": [vars(f) for f in report.failures]}, indent=1))
    else:
        _print(report.rows(), False, adversary.COLUMNS)
        for alike in report.distinct().values():
            more = f" (and {len(alike) - 1} more of this kind)" if len(alike) > 1 else ""
            typer.echo(f"{alike[0]}{more}")
        typer.echo(
            f"{report.judged} judgements, {len(report.failures)} failures of {len(report.distinct())} kinds, "
            f"{report.seconds:.1f} s, seed {seed}"
        )
    if report.failures:
        raise typer.Exit(1)


@app.command("pages")
def write_claim_pages(
    verdicts: str = typer.Option("figures/verdicts.csv", "--verdicts", help="The table of verdicts"),
    out: str = typer.Option(
        "docs/claims", "--out", help="Folder of the pages; pages of statements that are gone are removed from it"
    ),
    readme: str = typer.Option(
        "README.md", "--readme", help="File whose front table is written anew, if its markers are there"
    ),
) -> None:
    """One page a statement, with the command that judges each verdict again, and the front table of the README."""
    from pathlib import Path

    from . import pages
    from .claims import all_claims
    from .sweeps.files import write_text

    rows, claims, front = pages.read_rows(verdicts), all_claims(), Path(readme)
    text = front.read_text(encoding="utf-8") if front.is_file() else ""
    told = pages.with_front_table(text, pages.front_table(claims, rows), where=readme)
    made = pages.all_pages(claims, rows)
    removed = pages.write_pages(out, made)
    if told != text:
        write_text(front, told)
    typer.echo(f"{len(made)} pages in {out}" + (f"; removed: {', '.join(removed)}" if removed else ""))
    state = "no markers, left as it is" if pages.START not in text else "written anew" if told != text else "unchanged"
    typer.echo(f"front table of {readme}: {state}")


FILE = typer.Argument(help="A table (.csv, .tsv, .parquet) with a row a datum, or what Federation.save wrote (.npz)")
USER = typer.Option("", "--user", help="Of a table: the column that names the user")
LABEL = typer.Option("", "--label", help="Of a table: the column of classes, numbers or text")
TARGET = typer.Option("", "--target", help="Of a table: the column of real targets, instead of classes")
LAW = typer.Option("sample", "--law", help="Of a table: whether rows are a sample of the user's law, or exact: the law")


def _federation(file: str, user: str, label: str, target: str, law: str) -> Any:
    """Users from a table or an npz; what was left out of a table is said."""
    from .federations import Federation

    if file.endswith(".npz"):
        if user or label or target:
            raise InputError(f"{file}: an npz names its users and labels itself; leave out --user, --label, --target")
        return Federation.load(file)
    if not user:
        raise InputError(f"{file}: which column names the user? give --user COLUMN")
    with _stage(f"reading {file}"):
        fed = Federation.from_csv(file, user=user, label=label or None, target=target or None, law=law)
    left_out = "; ".join(f"{column} ({why})" for column, why in fed.info["left_out"].items())
    if left_out:
        typer.echo(f"left out of the features: {left_out}", err=True)
    return fed


class _Stages:
    """Says on standard error what is being computed once that has taken two seconds."""

    def __init__(self) -> None:
        self._timer: Any = None

    def __call__(self, what: str) -> None:
        import threading

        self.stop()
        self._timer = threading.Timer(2.0, lambda: typer.echo(f"computing: {what} ...", err=True))
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Nothing is being computed any more."""
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def _stage(what: str) -> Iterator[None]:
    stages = _Stages()
    stages(what)
    try:
        yield
    finally:
        stages.stop()


def _user_names(fed: Any) -> list[Any]:
    names = fed.info.get("users")
    return names if isinstance(names, list) and len(names) == fed.n_users else list(range(fed.n_users))


@app.command()
def distances(
    file: str = FILE,
    user: str = USER,
    label: str = LABEL,
    target: str = TARGET,
    law: str = LAW,
    label_price: float = typer.Option(
        0.0, "--label-price", help="kappa: what a difference in labels adds to the distance; 0 leaves labels out"
    ),
    pairs: bool = typer.Option(
        False, "--pairs", help="Print every pair of users instead of each user's distance to the average"
    ),
    gap: float = typer.Option(1e-9, help="Largest relative gap of a certificate"),
    as_json: bool = JSON,
) -> None:
    """W1 between the users of a federation, certified, with M and P, and total variation beside it."""
    import math

    from .distances import all_pairs, to_average
    from .reports.users import expected_seconds
    from .sweeps.progress import span

    if not (math.isfinite(label_price) and label_price >= 0):
        raise InputError(f"--label-price {label_price}: must be a finite number >= 0")
    fed, kappa = _federation(file, user, label, target, law), label_price or None
    names = _user_names(fed)
    time = span(expected_seconds(fed))  # of W1 to the average too, which follows
    with _stage(f"W1 of {fed.n_users * (fed.n_users - 1) // 2} pairs of users, then to the average: about {time}"):
        w1 = all_pairs(fed, kappa=kappa, gap=gap)
    with _stage("total variation of all pairs"):
        tv = all_pairs(fed, tv=True)
    assert w1.pairs_lower is not None
    assert w1.pairs_upper is not None
    assert tv.pairs_upper is not None
    if pairs:
        rows: list[dict[str, Any]] = [
            {
                "user": names[i],
                "other": names[j],
                "W1 lower": w1.pairs_lower[i, j],
                "W1 upper": w1.pairs_upper[i, j],
                "TV": tv.pairs_upper[i, j],
            }
            for i in range(fed.n_users)
            for j in range(i)
        ]
        _print(rows, as_json, ("user", "other", "W1 lower", "W1 upper", "TV"))
        return
    with _stage(f"W1 of {fed.n_users} users to the average of all"):
        average = to_average(fed, kappa=kappa, gap=gap)
    with _stage("total variation to the average"):
        tv_average = to_average(fed, tv=True)
    assert average.average_lower is not None
    assert average.average_upper is not None
    assert tv_average.average_upper is not None
    rows = [
        {
            "user": names[i],
            "rows": int(fed.sizes[i]),
            "W1 to average, lower": float(average.average_lower[i]),
            "upper": float(average.average_upper[i]),
            "TV to average": float(tv_average.average_upper[i]),
        }
        for i in range(fed.n_users)
    ]
    if as_json:
        summary = {"M": average.M, "P": w1.P, "law": fed.law, "name": fed.name, "kappa": kappa}
        typer.echo(json.dumps({"users": rows, **summary}, indent=1))
        return
    _print(rows, False, ("user", "rows", "W1 to average, lower", "upper", "TV to average"))
    tighter = "M" if average.M[1] <= w1.P[1] else "P"
    typer.echo(
        f"{fed.name}: sqrt M = {average.M[1] ** 0.5:.9g}, sqrt P = {w1.P[1] ** 0.5:.9g}; the better bound is by "
        f"{tighter}"
    )
    if fed.law == "sample":
        typer.echo("these rows are samples: part of every W1 is noise; see noise_floor and docs/your-own-users.md")
    if min((tv.pairs_upper[i, j] for i in range(fed.n_users) for j in range(i)), default=0.0) >= 1.0:
        from .distances.total_variation import TRIVIAL

        typer.echo(f"TV: {TRIVIAL}")


LOSSES = ("logistic", "softmax", "log-cosh", "least-squares", "quadratic", "cosine")


def _loss(name: str, fed: Any, target: str) -> Any:
    """The loss that is named, or the usual one: logistic for two classes, softmax for more, log-cosh without classes
    (bounded gradients: all its constants exist).
    """
    from . import losses

    whole = fed.y is not None and not target and bool((fed.y == fed.y.astype(int)).all())
    classes = int(fed.y.max()) + 1 if whole else 0
    if not name:
        name = ("logistic" if classes == 2 else "softmax") if classes >= 2 else "log-cosh"
    one_of("--loss", name, LOSSES)
    if name in ("logistic", "softmax") and classes < 2:
        raise InputError(f"--loss {name}: it needs classes; name their column with --label")
    made, arguments = {
        "logistic": ("Logistic", ()),
        "softmax": ("Softmax", (classes,)),
        "log-cosh": ("LogCosh", ("location" if fed.y is None else "regression",)),
        "least-squares": ("LeastSquares", ()),
        "quadratic": ("Quadratic", ()),
        "cosine": ("Cosine", ()),
    }[name]
    return getattr(losses, made)(*arguments)


@app.command()
def report(
    file: str = FILE,
    user: str = USER,
    label: str = LABEL,
    target: str = TARGET,
    law: str = LAW,
    loss: str = typer.Option("", help=f"{', '.join(LOSSES)}; by default what suits the labels"),
    alpha: float | None = typer.Option(None, help="Inner step; 0.2/L by default"),
    beta: float | None = typer.Option(None, help="Meta step; 1/(10 tau L_F) by default"),
    tau: int = typer.Option(5, help="Local steps a round"),
    participation: float | None = typer.Option(
        None, help="Share r of users a round (r n a whole number); about a fifth of them by default"
    ),
    batch: int | None = typer.Option(None, help="Size of every batch; all rows by default"),
    rounds: int | None = typer.Option(None, help="K; by default the bound is told as a function of K"),
    epsilon: float | None = typer.Option(None, help="Wanted average squared gradient: what reaches it is added"),
    variant: str = typer.Option("exact", help="exact, first-order, hessian-free or FedAvg"),
    radius: float | None = typer.Option(None, help="Read the assumptions on the ball of this radius about 0"),
    distance: str = typer.Option(
        "affordable", "--distances", help="affordable, all or none: how much of W1 to compute"
    ),
    with_run: bool = typer.Option(
        False, "--run", help="Run it once (K rounds, 1000 by default) and put what it measured beside the bound"
    ),
    figure: str = typer.Option("", help="Also draw the terms of the bound into this file (.png, .pdf, .svg)"),
    as_json: bool = JSON,
) -> None:
    """What the theory says for your users: constants, steps, distances, the bound term by term, and what reaches
    epsilon.
    """
    from . import algorithms, problems, reports

    if epsilon is not None and not epsilon > 0:
        raise InputError(f"--epsilon {epsilon}: must be a number > 0")
    if rounds is not None and rounds < 1:
        raise InputError(f"--rounds {rounds}: must be at least 1")
    if figure and not figure.lower().endswith((".png", ".pdf", ".svg")):
        raise InputError(f"--figure {figure}: the name must end in .png, .pdf or .svg")
    one_of("--variant", variant, ("exact", "first-order", "hessian-free", "FedAvg"))
    stages = _Stages()
    try:
        fed = _federation(file, user, label, target, law)
        if fed.n_users < 2:
            raise InputError(f"{file}: one user only; gamma and distances are between users: give two or more")
        problem = problems.Problem(_loss(loss, fed, target), fed)
        stages("constants of the assumptions")
        ball = None if radius is None else (radius, None)
        algorithm, inner = reports.usual_algorithm(
            problem,
            alpha=alpha,
            beta=beta,
            tau=tau,
            participation=participation,
            batch=batch,
            variant=variant,
            ball=ball,
        )
        run = None
        if with_run:
            stages(f"a run of {rounds or 1000} rounds")
            run = algorithms.run(
                algorithm, problem, rounds=rounds or 1000, record=("local_gradient", "meta_gradient"), alpha=inner
            )
        found = reports.report(
            problem,
            algorithm,
            run=run,
            epsilon=epsilon,
            rounds=rounds,
            alpha=inner,
            ball=ball,
            distances=distance,
            tell=stages,
        )
        if figure:
            stages("the figure")
            found.figure().savefig(figure)
    finally:
        stages.stop()
    typer.echo(json.dumps(reports.as_data(found), indent=1) if as_json else str(found))


@app.command()
def datasets(as_json: bool = JSON) -> None:
    """Which data sets are here, and what to do about the others. No network is tried."""
    import os

    from .datasets import NAMES, local
    from .errors import DataMissingError

    rows = []
    for name in NAMES:
        try:
            found = local(name)
            rows.append({"data set": name, "state": "here", "images": len(found.x), "what": found.source})
        except DataMissingError as error:
            rows.append({"data set": name, "state": "absent", "images": None, "what": str(error)})
    rows.append(
        {
            "data set": "(folder)",
            "state": "PFL_THEORY_DATA",
            "images": None,
            "what": "set" if os.environ.get("PFL_THEORY_DATA") else "not set",
        }
    )
    _print(rows, as_json, ("data set", "state", "images", "what"))


@app.command()
def doctor(as_json: bool = JSON) -> None:
    """Versions, threads, and whether kernels compile and are cached here."""
    import time

    from .provenance import provenance

    start = time.perf_counter()
    import pfl_theory as pfl

    from .losses.least_squares import LeastSquares

    problem = pfl.Problem(LeastSquares(), pfl.Federation.from_arrays([[[1.0]], [[2.0]]], [[0.0], [1.0]]))
    good = problem.gradient([1.0]).ravel().tolist() == [1.0, 2.0]
    from .kernels.jit import n_threads

    facts = {
        **provenance(),
        "threads over users": n_threads(),
        "a kernel gives the right numbers": good,
        "seconds to the first number": round(time.perf_counter() - start, 2),
    }
    _print([{"what": k, "value": v} for k, v in facts.items()], as_json, ("what", "value"))
    if not good:
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="pfl-theory", standalone_mode=False)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        code = 2
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        typer.echo(f"error: {' '.join(error.format_message().split())}; see pfl-theory --help", err=True)
        code = 2
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
