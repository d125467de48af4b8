"""One page a statement, and the front table: Markdown made from the claims and the rows of the table of verdicts."""

from __future__ import annotations

import csv
import inspect
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from .claims import Claim, Instance
from .errors import InputError, require
from .judging.table import command
from .sweeps.files import write_text

Row = Mapping[str, str]

MARK = "<!-- Written by `pfl-theory pages` from the claims and figures/verdicts.csv: edits are lost. -->"
START, END = "<!-- front table -->", "<!-- /front table -->"
NUMBERS = ("control", "lhs_lower", "rhs_upper", "ratio", "level")
NEEDED = (
    "claim",
    "version",
    "form",
    "instance",
    "scope",
    "scale",
    "expected",
    "outcome",
    *NUMBERS,
    "reason",
    "command",
)
LONGEST = 160  # letters of a reason
SHOWN = ("L", "B", "rho", "sigma_G", "sigma_H")  # constants of a witness
SIDES = (
    (re.compile(r"left side at most (\S+), right side at least (\S+)\.(?= |$)"), "<="),
    (re.compile(r"left side at least (\S+), right side at most (\S+)\.(?= |$)"), ">"),
)


# --- text ---


def escaped(text: str) -> str:
    r"""Text for Markdown, in a table or not: signs that would be markup are escaped, line ends become spaces.

    Examples
    --------
    >>> escaped("||G~||^2 <= X*")
    '\\|\\|G\\~\\|\\|^2 <= X\\*'
    """
    return re.sub(r"([\\|*~])", r"\\\1", " ".join(text.split()))


def number(value: float | str | None) -> str:
    """A number to six significant digits; one that is near 1 and not 1 says so, for 1 means attained.

    Examples
    --------
    >>> [number(value) for value in (0.123456789, 1.0, 1 - 1e-9, 1 + 1e-15, 1e36, "", None)]
    ['0.123457', '1', '1 - 1e-09', '1', '1e+36', '', '']
    """
    if value is None or value == "":
        return ""
    x = float(value)
    text = f"{x:.6g}"
    if text == "1" and abs(x - 1) > 1e-12:
        return f"1 {'-' if x < 1 else '+'} {abs(x - 1):.2g}"
    return text


def shortened(reason: str) -> str:
    """A reason for a table: an inequality for the sentence about both sides, six digits where they tell the sides
    apart, cut at a word.

    Examples
    --------
    >>> shortened("left side at most 0.123456789, right side at least 0.25. Sampled 100 times.")
    '0.123457 <= 0.25. Sampled 100 times.'
    """
    for pattern, sign in SIDES:
        reason = pattern.sub(lambda found, sign=sign: f"{' '.join(_apart(found[1], sign, found[2]))}.", reason)  # type: ignore[misc]
    return reason if len(reason) <= LONGEST else reason[:LONGEST].rsplit(" ", 1)[0] + " ..."


def _apart(left: str, sign: str, right: str) -> tuple[str, str, str]:
    a, b = f"{float(left):.6g}", f"{float(right):.6g}"
    return (left, sign, right) if a == b and left != right else (a, sign, b)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    r"""A Markdown table of cells that are Markdown already.

    Examples
    --------
    >>> table(("a", "b"), [("1", "2")])
    '| a | b |\n|---|---|\n| 1 | 2 |'
    """
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "|---" * len(head) + "|" if row == ["---"] * len(head) else f"| {' | '.join(row)} |" for row in rows
    )


def code(text: str) -> str:
    r"""A code span, also for a cell of a table.

    Examples
    --------
    >>> code("a | b")
    '`a \\| b`'
    """
    return "`" + text.replace("|", "\\|") + "`"


# --- rows ---


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Rows of the table of verdicts.

    Raises
    ------
    InputError
        The table is absent, cannot be read, or is another table.
    """
    source = Path(path)
    require(
        source.is_file(),
        f"{source}: no such table of verdicts; make it with: make full (a while), or make figures (quick scale)",
    )
    try:
        reader = csv.DictReader(io.StringIO(source.read_text(encoding="utf-8")))
        missing = [name for name in NEEDED if name not in (reader.fieldnames or [])]
        rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{source}: cannot be read ({error}); make it again with: make figures") from error
    require(
        not missing, f"{source}: not a table of verdicts, for it lacks {', '.join(missing)}; make it with: make figures"
    )
    for k, row in enumerate(rows, start=2):
        require(
            None not in row and None not in row.values(),
            f"{source}, line {k}: not as many fields as the first line; make the table again",
        )
        for name in NUMBERS:
            require(
                _is_number(row[name]),
                f"{source}, line {k}: {name} = {row[name]!r} is not a number; make the table again with: make figures",
            )
    return rows


def _is_number(text: str | None) -> bool:
    try:
        return text == "" or math.isfinite(float(text or "nan"))
    except ValueError:
        return False


def rows_of(claim: Claim, rows: Iterable[Row]) -> list[Row]:
    """The rows of one form of a statement: those of full scale, or the quick ones where there is no other."""
    mine = [
        row for row in rows if (row["claim"], row["version"], row["form"]) == (claim.name, claim.version, claim.form)
    ]
    return [row for row in mine if row["scale"] == "full"] or mine


def on_witness(claim: Claim, rows: Iterable[Row]) -> tuple[str, float]:
    """Outcome and ratio on the witness: from its row, or what the claim states where it has none."""
    typed = command(claim, "witness")
    for row in rows_of(claim, rows):
        if row["command"] == typed and row["ratio"]:
            return row["outcome"], float(row["ratio"])
    return claim.expected, claim.known_ratio


def largest_ratio(claim: Claim, rows: Iterable[Row]) -> float:
    """The largest ratio that some instance of the table certifies: lower end of the left side over upper end of the
    right; controls left out.
    """
    ends = [(row["lhs_lower"], row["rhs_upper"]) for row in rows_of(claim, rows) if float(row["control"]) == 1.0]
    found = [float(lower) / float(upper) for lower, upper in ends if lower and upper and float(upper) > 0]
    return max(found, default=on_witness(claim, rows)[1])


# --- a page ---


def page(name: str, claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """The page of a statement: every version and form with its hypotheses, witness and verdicts.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> print(page("lemma-4.4", all_claims(), []).splitlines()[2])
    # lemma-4.4: Heterogeneity of the meta-gradients
    """
    mine = [claim for claim in claims if claim.name == name]
    head = f"{MARK}\n\n# {escaped(name)}: {escaped(mine[0].title)}\n\n[All statements](README.md)"
    return "\n\n".join([head, *(section(claim, rows) for claim in mine)]) + "\n"


def section(claim: Claim, rows: Sequence[Row]) -> str:
    """One version and form: what it says, when, where from, how tight, on what, and its verdicts."""
    outcome, ratio = on_witness(claim, rows)
    facts = [
        ("Hypotheses", "; ".join(escaped(h.text) for h in claim.hypotheses)),
        ("Source", linked(escaped(claim.source))),
        ("Tight", tightness(claim, ratio)),
        ("Witness", witness_text(claim)),
        ("Judge it", code(command(claim, "witness"))),
    ]
    parts = [f"## {heading(claim)}", escaped(claim.title) + ":", f"> {escaped(claim.statement)}"]
    parts += [line for line in (refuted(claim, outcome, ratio), left_open(claim)) if line]
    return "\n\n".join([*parts, "\n".join(f"- {what}: {text}" for what, text in facts), verdicts(rows_of(claim, rows))])


def heading(claim: Claim) -> str:
    """Version and form in words."""
    return f"Version {claim.version}" + (f", form {claim.form}" if claim.form else "")


def linked(text: str) -> str:
    """The theory as a link, as seen from a page.

    Examples
    --------
    >>> linked("docs/theory.md, section 9.4")
    '[docs/theory.md](../theory.md), section 9.4'
    """
    return text.replace("docs/theory.md", "[docs/theory.md](../theory.md)")


def tightness(claim: Claim, ratio: float) -> str:
    """Whether a smaller right side would do, and what the witness reaches."""
    if claim.expected == "VIOLATED":
        return f"does not apply; the witness reaches {number(ratio)} of the right side"
    reached = (
        "the witness attains it" if number(ratio) == "1" else f"the witness reaches {number(ratio)} of the right side"
    )
    return f"{'yes' if claim.tight else 'no, or not known'}; {reached}"


def refuted(claim: Claim, outcome: str, ratio: float) -> str:
    """A line for a statement that its witness refutes, else nothing."""
    if claim.expected != "VIOLATED":
        return ""
    at = f" with {claim.open_constant} = 1" if claim.open_constant else ""
    return f"**This statement is refuted{at}**: on its witness the left side is {number(ratio)} times the right side ({outcome})."


def left_open(claim: Claim) -> str:
    """What ratio and outcome mean where the statement leaves a constant open, else nothing."""
    name = claim.open_constant
    if not name:
        return ""
    return (
        f"The statement names no value of {name}. It is judged with {name} = 1, so that the ratio is the smallest "
        f"{name} that covers the instance: "
        f"above 1 the outcome is VIOLATED, else INCONCLUSIVE, for another instance may need more. Such a statement "
        "never comes out as HOLDS."
    )


def witness_text(claim: Claim) -> str:
    """Name, description and numbers of the witness."""
    at = claim.witness()
    name = "" if at.name == "witness" else f"{at.name}."  # a name that says nothing
    words = [escaped(name), escaped(described_by(claim.witness)), f"({numbers_of(at)})"]
    return " ".join(word for word in words if word)


def described_by(make: Callable[..., Instance]) -> str:
    """First paragraph of what makes the witness; of the function that a lambda calls.

    Examples
    --------
    >>> from pfl_theory.claims import lemma_4_2
    >>> described_by(lambda: lemma_4_2.witness()), described_by(lemma_4_2.witness)
    ('', 'One user with the extremal function.')
    """
    if getattr(make, "__name__", "") == "<lambda>":
        called = [f for f in inspect.getclosurevars(make).globals.values() if inspect.isfunction(f)]
        if len(called) != 1:
            return ""
        make = called[0]
    return " ".join((inspect.getdoc(make) or "").split("\n\n")[0].split())


def numbers_of(instance: Instance) -> str:
    """Users, dimension, step and the constants that are stated, finite and not 0."""
    n, d = instance.problem.n_users, instance.problem.dim
    parts = [f"{n} user{'s' if n > 1 else ''}", f"d = {d}", f"alpha = {number(instance.alpha)}"]
    if instance.rounds is not None:
        parts.append(f"K = {number(float(instance.rounds))}")
    for name in SHOWN:
        constant = instance.constants.get(name)
        if constant is not None and constant.usable and math.isfinite(constant.max()) and constant.max() > 0:
            parts.append(f"{name} = {number(constant.max())}")
    return ", ".join(parts)


def verdicts(rows: Sequence[Row]) -> str:
    """The rows of one form as a table, each with the command that judges it again."""
    if not rows:
        return "It is not in the table of verdicts yet."
    head = ("instance", "scope", "right side", "outcome", "ratio", "level", "reason", "judge it again")
    body = table(head, map(_verdict, rows))
    if any(row["scale"] == "full" for row in rows):
        return body
    return f"{body}\n\nThese rows are of quick scale."


def _verdict(row: Row) -> list[str]:
    factor = float(row["control"] or 1.0)
    surprise = "" if row["outcome"] == row["expected"] else f" (expected {row['expected']})"
    return [
        escaped(row["instance"]),
        row["scope"],
        "" if factor == 1.0 else f"times {number(factor)}",
        row["outcome"] + surprise,
        number(row["ratio"]),
        number(row["level"]),
        escaped(shortened(row["reason"])),
        code(row["command"]),
    ]


# --- the table of all statements ---


def ordered(claims: Sequence[Claim]) -> list[str]:
    """Names of the statements: those with a number in its order, then the others.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> ordered(all_claims())[0]
    'lemma-4.2'
    """

    def place(name: str) -> tuple[float, str]:
        found = re.search(r"\d+\.\d+", name)
        return (float(found[0]) if found else math.inf), name

    return sorted({claim.name for claim in claims}, key=place)


def front_table(claims: Sequence[Claim], rows: Sequence[Row], *, link: str = "docs/claims/") -> str:
    """One row a statement: does it hold as transcribed, how tight is it, what is sharper or correct, is that tight.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> print(front_table(all_claims(), []).splitlines()[2])
    | lemma-4.2 | holds: 4 L + alpha rho B | 0.995 reached | ... | attained (one-dimensional) | [page](docs/claims/lemma-4.2.md) |
    """
    head = ("statement", "as transcribed", "how tight", "sharpened or corrected", "tight", "")
    lines = []
    for name in ordered(claims):
        mine = [claim for claim in claims if claim.name == name]
        paper, better = [c for c in mine if c.version == "paper"], [c for c in mine if c.version != "paper"]
        offered = "; ".join(escaped(c.short) for c in better if c.short)
        lines.append(
            [
                name,
                transcribed(paper, rows),
                how_tight(paper, rows),
                offered,
                best(better, rows),
                f"[page]({link}{name}.md)",
            ]
        )
    return table(head, lines)


def transcribed(paper: Sequence[Claim], rows: Sequence[Row]) -> str:
    """What became of the transcribed statement on its witness; the first form speaks for the others."""
    if not paper:
        return "no constant to judge"
    claim = paper[0]
    outcome = on_witness(claim, rows)[0]
    if outcome == "VIOLATED":
        return f"**refuted** {escaped(claim.short)}".rstrip()
    kind = "open constant" if claim.open_constant else {"HOLDS": "holds"}.get(outcome, outcome)
    return f"{kind}: {escaped(claim.short)}" if claim.short else kind


def how_tight(paper: Sequence[Claim], rows: Sequence[Row]) -> str:
    """How much of the transcribed right side is reached, or how large its open constant must be."""
    if not paper:
        return ""
    claim = paper[0]
    largest = largest_ratio(claim, rows)
    if claim.open_constant:
        return f"{claim.open_constant} >= {_down(largest)} needed"
    return f"{_down(largest)} times exceeded" if claim.expected == "VIOLATED" else _reached(on_witness(claim, rows)[1])


def best(better: Sequence[Claim], rows: Sequence[Row]) -> str:
    """The tight form that comes closest, and how close; `no` where none is tight."""
    tight = [(on_witness(claim, rows)[1], claim) for claim in better if claim.tight]
    if not tight:
        return "no"
    ratio, claim = max(tight, key=lambda pair: round(pair[0], 12))  # the first of equals
    return _reached(ratio) + (f" ({claim.form})" if claim.form else "")


def _reached(ratio: float) -> str:
    if number(ratio) == "1":
        return "attained"
    return f"{_down(ratio)} reached" if ratio < 0.9995 else f"{number(ratio)} reached"


def _down(ratio: float) -> str:
    """Three digits, rounded down: what is said to be reached is reached, up to rounding in the tenth digit."""
    exact = Decimal(f"{ratio:.10g}")
    return f"{float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), rounding=ROUND_DOWN)):.12g}"


def index_page(claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """The front table, and every version and form with its outcome on the witness."""
    lines = []
    for name in ordered(claims):
        for claim in (c for c in claims if c.name == name):
            outcome, ratio = on_witness(claim, rows)
            judged = len(rows_of(claim, rows))
            lines.append(
                [
                    f"[{name}]({name}.md)",
                    claim.version,
                    claim.form,
                    escaped(claim.title),
                    outcome,
                    number(ratio),
                    str(judged),
                ]
            )
    every = table(("statement", "version", "form", "what", "on its witness", "ratio", "rows"), lines)
    what = (
        "One page a statement: what it says, under which hypotheses, how tight it is, and every verdict with the "
        "command that judges it again. "
        "Both sides are computed; the verdicts' words are explained in the "
        "[README](../../README.md#what-the-verdicts-mean), "
        "the proofs are in [docs/theory.md](../theory.md). `make pages` writes all of this."
    )
    ratio_means = (
        "The ratio is the left side over the right side: 1 is a bound attained, more than 1 a bound that fails."
    )
    parts = [
        MARK,
        "# Statements and their verdicts",
        what,
        front_table(claims, rows, link=""),
        "## Every version and form",
        ratio_means,
        every,
    ]
    return "\n\n".join(parts) + "\n"


# --- files ---


def all_pages(claims: Sequence[Claim], rows: Sequence[Row]) -> dict[str, str]:
    """File names and texts: the index, and one page a statement.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> sorted(all_pages(all_claims(), []))[:2]
    ['README.md', 'corollary-4.6.md']
    """
    return {
        "README.md": index_page(claims, rows),
        **{f"{name}.md": page(name, claims, rows) for name in ordered(claims)},
    }


def with_front_table(text: str, made: str, *, where: str = "README.md") -> str:
    r"""`text` with `made` between its two markers; as it is where it has none.

    Examples
    --------
    >>> with_front_table("a\n<!-- front table -->\nold\n<!-- /front table -->\n", "new")
    'a\n<!-- front table -->\n\nnew\n\n<!-- /front table -->\n'
    """
    counts = text.count(START), text.count(END)
    if counts == (0, 0):
        return text
    good = counts == (1, 1) and text.index(START) < text.index(END)
    require(good, f"{where}: the front table stands between one {START} and one {END} after it; mend the markers")
    return text[: text.index(START) + len(START)] + f"\n\n{made}\n\n" + text[text.index(END) :]


def write_pages(folder: str | os.PathLike[str], pages: Mapping[str, str]) -> list[str]:
    """Write the pages, and remove those of statements that are gone. Returns the names of what was removed.

    Only files that this generator wrote are replaced or removed.

    Raises
    ------
    InputError
        A file of another origin stands where a page belongs, or the folder cannot be written.
    """
    root = Path(folder)
    require(not root.exists() or root.is_dir(), f"{root}: not a folder; choose another --out")
    for name in pages:
        target = root / name
        require(
            not target.exists() or _is_ours(target),
            f"{target}: not a page of this generator, so it is not replaced; choose another --out",
        )
    for name, text in pages.items():
        write_text(root / name, text)
    gone = [path for path in sorted(root.glob("*.md")) if path.name not in pages and _is_ours(path)]
    for path in gone:
        path.unlink()
    return [path.name for path in gone]


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(MARK)
    except (OSError, ValueError):
        return False
