"""The command line of the analyses: what is asked for, computed, drawn, and told."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError, one_of
from ..sweeps import Outcome, Progress, Sources, Store, Task, n_workers, run
from ..sweeps.files import locked, write_text
from ..sweeps.state import OLDER
from .committed import SCALES, Made, folder_of, read_committed
from .confirm import confirm_analyses
from .module import Analysis, get, select
from .write import write_analysis

SKIPPED = "skipped: "

Say = Callable[[str], None]


def prepare(folder: Path) -> None:
    """Make `folder` and check that it can be written, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder with --out, or make room"
        ) from error


def run_analyses(
    wanted: Sequence[str],
    *,
    scale: str = "quick",
    workers: int | str | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    explain: bool = False,
    force: bool = False,
    package: str = "analysis",
    say: Say = lambda _line: None,
    complain: Say = lambda _line: None,
) -> int:
    """Compute what is not stored, draw everything, and build the index. Returns the exit code (0, or 1 if something
    failed).

    Parameters
    ----------
    wanted : sequence of str
        Names, or ``["all"]``.
    scale : {"quick", "full"}
        Handed to every ``grid``.
    workers : int, optional
        Processes; two unless given, or one where there is one processor.
    seed : int
        Root seed.
    out : path, optional
        Output folder: ``figures/quick`` or ``figures`` unless given.
    explain : bool
        Say of every cell why it runs or does not.
    force : bool
        Compute stored and committed cells again.
    package : str
        Package whose modules are the analyses.
    say, complain : callable
        Where lines for the reader go, and where errors go.
    """
    from ..pages.index import build_index, collect_verdicts

    begin = time.perf_counter()
    one_of("scale", scale, SCALES)
    number = n_workers(default_workers() if workers is None else workers)
    chosen = select(wanted, package)
    folder = folder_of(scale, out)
    prepare(folder)
    store = Store(folder / ".store")
    if not (store.folder / ".gitignore").exists():
        write_text(store.folder / ".gitignore", "*\n")

    analyses = [get(name, package) for name in chosen]
    tasks = {analysis.name: analysis.tasks(scale, seed) for analysis in analyses}
    context = {"command": sys.argv, "seed": seed, "scale": scale, "workers": number}
    problems: list[str] = []
    with locked(store.folder / name for name in chosen):  # two seeds into one folder do not belong together
        found = _committed(tasks, folder, store) if scale == "full" and not force else {}
        outcomes = _outcomes(tasks, found, store, number, force=force, explain=say if explain else None)
        for analysis in analyses:
            problems += _write(analysis, tasks[analysis.name], found, outcomes, folder, context, say)
        with locked([store.folder], wait=True):  # both read what other runs write: the last one sees all
            collect_verdicts(folder, scale)
            page = build_index(folder, scale)
    say(f"{page} ({time.perf_counter() - begin:.1f} s)")
    for problem in problems:
        complain(f"error: {problem}")
    return 1 if problems else 0


def _committed(tasks: Mapping[str, Sequence[Task]], folder: Path, store: Store) -> dict[str, Made]:
    """Cells, by key, that are shown as they are committed: a full-scale result is never made again by itself."""
    found: dict[str, Made] = {}
    for name, mine in tasks.items():
        kept = read_committed(folder / name, name, mine)
        found.update({task.key: kept[task.key] for task in mine if task.key in kept and store.lookup(task)[0] is None})
    return found


def _outcomes(
    tasks: Mapping[str, Sequence[Task]],
    found: Mapping[str, Made],
    store: Store,
    workers: int,
    *,
    force: bool,
    explain: Say | None,
) -> dict[str, Outcome]:
    """Cells, by key, that are stored or computed now."""
    every = [task for mine in tasks.values() for task in mine]
    with Progress() as progress:

        def tell(event: Any) -> None:
            if explain and event.kind in ("stored", "waiting"):
                explain(f"{event.task.describe()}: {event.reason}")
            progress(event)

        if explain:
            for task in (task for task in every if task.key in found):
                explain(f"{task.describe()}: committed{f', {OLDER}' if found[task.key].older else ''}")
        todo = [task for task in every if task.key not in found]
        return {o.task.key: o for o in run(todo, store=store, workers=workers, force=force, on_event=tell)}


def _write(
    analysis: Analysis,
    tasks: Sequence[Task],
    found: Mapping[str, Made],
    outcomes: Mapping[str, Outcome],
    folder: Path,
    context: dict[str, Any],
    say: Say,
) -> list[str]:
    """Write an analysis, unless cells of it failed, and say so; what went wrong."""
    failed = [outcomes[task.key] for task in tasks if task.key in outcomes and outcomes[task.key].status == "failed"]
    if failed:
        return _failures(analysis.name, failed, len(tasks))
    made = [found.get(task.key) or _made(outcomes[task.key]) for task in tasks]
    rows = [_with_parameters(task, item) for task, item in zip(tasks, made, strict=True)]
    report = write_analysis(analysis, tasks, rows, folder / analysis.name, context)
    computed = sum(item.status == "computed" for item in made)
    say(
        f"{analysis.name}: {len(tasks)} cells, {computed} computed -> "
        f"{folder / analysis.name}{''.join(f'; {note}' for note in report.notes)}"
    )
    return report.problems


def _made(outcome: Outcome) -> Made:
    if outcome.status == "skipped":
        message = outcome.failure.message if outcome.failure else "no data"
        status = message if message.startswith(SKIPPED) else SKIPPED + message
        return Made([{"status": status}], "skipped", 0.0, Sources().as_data())
    return Made(outcome.rows, outcome.status, outcome.seconds, outcome.sources.as_data())


def _with_parameters(task: Task, made: Made) -> Made:
    if made.status == "committed":
        return made
    return made._replace(rows=[{**task.parameters, **row} for row in made.rows])


def _failures(name: str, failed: Sequence[Outcome], total: int) -> list[str]:
    lines = [
        f"{name}: {len(failed)} of {total} cells failed, so it is not drawn; the others are stored, run again to go on"
    ]
    for outcome in failed:
        assert outcome.failure is not None
        kind = f"{outcome.failure.kind}: " if outcome.failure.details else ""
        lines.append(
            f"{outcome.task.describe()}: {kind}{outcome.failure.message}"
            + (f"\n{outcome.failure.details}" if outcome.failure.details else "")
        )
    return lines


def default_workers() -> int:
    """Two, or one where there is one processor."""
    return min(2, os.cpu_count() or 1)


def main(arguments: Sequence[str] | None = None, *, package: str = "analysis") -> None:
    """Command line: ``python -m analysis NAME|all [--scale quick|full] [--workers W] [--seed S] [--out DIR] [--explain]
    [--force]``, and ``python -m analysis confirm NAME|all [--seconds S] [--scale quick|full] [--workers W]``.

    Ends the process: 0 = done (also where data are absent), 1 = a cell or a figure failed or differs, 2 = bad input,
    130 = interrupted.
    """
    import typer

    given = list(sys.argv[1:] if arguments is None else arguments)
    confirming = given[:1] == ["confirm"]
    program = f"python -m {package}" + (" confirm" if confirming else "")
    app = _confirm_app(package) if confirming else _app(package)
    try:
        code = app(args=given[1:] if confirming else given, prog_name=program, standalone_mode=False)
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # what is wrong with the arguments, told in a line like any other bad input
            raise
        typer.echo(f"error: {' '.join(error.format_message().split())}; see {program} --help", err=True)
        code = 2
    sys.exit(code)


def _app(package: str) -> Any:
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command(
        help="Compute what is not stored yet, and draw figures and tables. Another command, confirm, computes a sample "
        "of committed cells again and compares them: see confirm --help."
    )
    def analyses(
        name: list[str] = typer.Argument(help="Analyses by name, or: all"),  # noqa: B008 (typer's way)
        scale: str = typer.Option("quick", help="quick (at most 20 s each) or full"),
        workers: str = typer.Option("", help="Number of worker processes (default: 2, or 1 on one processor)"),
        seed: int = typer.Option(0, help="Root seed"),
        out: str = typer.Option("", help="Output folder (default: figures/quick, or figures at full scale)"),
        explain: bool = typer.Option(False, "--explain", help="Say of every cell why it runs or does not"),
        force: bool = typer.Option(False, "--force", help="Compute everything again"),
    ) -> None:
        keywords: dict[str, Any] = {"scale": scale, "workers": workers or None, "seed": seed, "out": out or None}
        _run(run_analyses, name, **keywords, explain=explain, force=force, package=package)

    return app


def _confirm_app(package: str) -> Any:
    import typer

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command(help="Compute a sample of committed cells again and compare them byte for byte.")
    def confirm(
        name: list[str] = typer.Argument(help="Analyses by name, or: all"),  # noqa: B008 (typer's way)
        seconds: float = typer.Option(60.0, help="What the cells of an analysis took together when they were made"),
        scale: str = typer.Option("full", help="quick or full"),
        workers: str = typer.Option("", help="Number of worker processes (default: 2, or 1 on one processor)"),
        seed: int = typer.Option(0, help="Seed of the sample"),
        out: str = typer.Option("", help="Folder of the results (default: figures, or figures/quick)"),
    ) -> None:
        keywords: dict[str, Any] = {"seconds": seconds, "scale": scale, "seed": seed, "out": out or None}
        _run(confirm_analyses, name, **keywords, workers=workers or default_workers(), package=package)

    return app


def _run(task: Callable[..., int], name: Sequence[str], **keywords: Any) -> None:
    """Call it, tell errors in a line, and leave with its exit code."""
    import typer

    def complain(line: str) -> None:
        typer.echo(line, err=True)

    try:
        code = task(name, **keywords, say=typer.echo, complain=complain)
    except InputError as error:
        complain(f"error: {error}")
        code = 2
    except KeyboardInterrupt:
        complain("interrupted; finished cells are stored, run the same command again to go on")
        code = 130
    raise typer.Exit(code)
