"""Tables of statements: five in words for the README, and all of them with their formulas on a page of their own."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import require
from ..sweeps.files import write_text
from .rows import Row, largest_ratio, on_witness, rows_of
from .statement import page
from .templates import MARK, filled
from .text import escaped, number, rounded_down, table
from .wrap import wrapped

if TYPE_CHECKING:
    from ..judging.claim import Claim

START, END = "<!-- front table -->", "<!-- /front table -->"

# what the README says in words, and on which users of one's own each can be judged
TITLES = {
    "lemma-4.2": "Lemma 4.2",
    "lemma-4.4": "Lemma 4.4",
    "w1-gradient": "Section 4.1",
    "theorem-4.5": "Theorem 4.5",
    "corollary-4.6": "Corollary 4.6",
}
IN_WORDS = {
    "lemma-4.2": ("the averaged loss after a personal step is smooth", "yes, between points w that you give"),
    "lemma-4.4": ("its gradients differ between users no more than gradients and Hessians of f do", "in one dimension"),
    "w1-gradient": ("gradients of users are close where their data are, in Wasserstein distance", "yes, any table"),
    "theorem-4.5": (
        "Per-FedAvg makes the gradient small on average, at this rate",
        "yes: logistic, softmax, log-cosh, cosine; quadratics on a ball; functions with constants",
    ),
    "corollary-4.6": ("so many rounds and local steps reach an accuracy eps", "yes, as the theorem"),
}


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
    """Five statements in words: holds or refuted, how tight, and whether one's own users can be judged.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> len(front_table(all_claims(), []).splitlines())
    7
    """
    known = {claim.name for claim in claims}
    lines = []
    for name, (words, mine) in IN_WORDS.items():
        if name not in known:
            continue
        forms = [claim for claim in claims if claim.name == name]
        paper, better = [c for c in forms if c.version == "paper"], [c for c in forms if c.version != "paper"]
        outcome = transcribed(paper, rows).partition(":")[0]
        named = f"[{TITLES[name]}]({link}{name}.md): {words}"
        lines.append([named, outcome, how_tight(paper, rows), best(better, rows), mine])
    return table(("statement", "as transcribed", "how tight", "sharper or corrected form", "on my users"), lines)


def every_statement(claims: Sequence[Claim], rows: Sequence[Row], *, link: str = "docs/claims/") -> str:
    """One row a statement: does it hold as transcribed, how tight is it, what is sharper or correct, is that tight.

    Examples
    --------
    >>> from pfl_theory.claims import all_claims
    >>> print(every_statement(all_claims(), []).splitlines()[2])
    | lemma-4.2 | holds: 4 L + alpha rho B | 0.995 reached | ... | [page](docs/claims/lemma-4.2.md) |
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
        return f"{claim.open_constant} >= {rounded_down(largest)} needed"
    return (
        f"{rounded_down(largest)} times exceeded"
        if claim.expected == "VIOLATED"
        else _reached(on_witness(claim, rows)[1])
    )


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
    return f"{rounded_down(ratio)} reached" if ratio < 0.9995 else f"{number(ratio)} reached"


def index_page(claims: Sequence[Claim], rows: Sequence[Row]) -> str:
    """All statements with their formulas, and every version and form with its outcome on the witness."""
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
    return wrapped(filled("front.md", "index", front=every_statement(claims, rows, link=""), every=every)) + "\n"


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
