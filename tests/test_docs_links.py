"""Documents: every link and anchor leads somewhere, every place of the theory that the code names exists, every label
resolves, every section of the theory has its anchor, and lines have at most 120 characters.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pfl_theory.claims import all_claims
from pfl_theory.pages import wrapped

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
CODE = sorted(
    path for room in ("pfl_theory", "analysis", "tests", "benchmarks") for path in (ROOT / room).rglob("*.py")
)
THEORY = sorted((ROOT / "docs/theory").glob("*.md"))
WIDTH = 120

ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACE = re.compile(r"docs/theory/([\w-]+\.md)(?:#([\w-]+))?")
LABEL = re.compile(r"\[theory\s+([^\]]+)\]")
# labels of notes outside of this project: letter and digit, as in D6.2 or E2 2c
FOREIGN = re.compile(r"\[(?:[A-Z]\d+(?:\.\d+)?(?: \d?[a-z])?(?:, )?)+\]|\b[CDE]\d\.\d")


def named(path):
    return str(path.relative_to(ROOT))


def prose(text):
    """A page without what is shown as it stands: code, and formulas, where [ and ( mean other things."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$|^    .*$", "", text, flags=re.MULTILINE | re.DOTALL)


def slugs(text):
    """Anchors of a page: those written down, and those of its headings as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).strip().replace(" ", "-") for head in heads}
    return made | set(ANCHOR.findall(text))


def sections():
    """Text of every section of the theory by its number, sections below it not included."""
    found = {}
    for path in THEORY:
        parts = re.split(r"^#+ (\d+(?:\.\d+)*)\.? .*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for number, text in zip(parts[1::2], parts[2::2], strict=True):
            found[number] = found.get(number, "") + text
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_anchors_of_pages_exist(page):
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{named(page)} links to {target}"
        if anchor:
            assert anchor in slugs(there.read_text(encoding="utf-8")), (
                f"{named(page)} links to {target}: no such anchor"
            )


def test_every_section_of_the_theory_has_the_anchor_of_its_number():
    numbers = []
    for path in THEORY:
        text = path.read_text(encoding="utf-8")
        anchors = ANCHOR.findall(text)
        assert len(anchors) == len(set(anchors)), f"{path.name}: an anchor twice"
        for line in re.findall(r"^#+ \d.*$", text, flags=re.MULTILINE):
            number, whole = re.match(r"#+ (\d+(?:\.\d+)*)(\.?)", line).groups()
            if line.startswith("# ") and not whole and number.count(".") == 0:
                continue
            found = re.search(rf'<a id="{number.replace(".", "-")}"></a>\n\n{re.escape(line)}', text)
            if found:
                numbers.append(number)
            else:  # a part of a chapter that begins in another file
                assert line.startswith("# "), f"{path.name}: no anchor before {line}"
    assert len(numbers) == len(set(numbers))
    assert {"1", "2.3", "5.12", "8.9", "9.1", "9.5.8", "9.6"} <= set(numbers)
    for number in numbers:  # none is skipped: 9.5.6 has a 9.5.5 before it
        head, _, last = number.rpartition(".")
        assert int(last) == 1 or f"{head}{'.' if head else ''}{int(last) - 1}" in numbers, number


def test_every_chapter_stands_in_the_contents():
    contents = (ROOT / "docs/theory/README.md").read_text(encoding="utf-8")
    for path in THEORY:
        if path.name != "README.md":
            assert f"]({path.name})" in contents
            assert "[Contents](README.md)" in path.read_text(encoding="utf-8")


def test_places_that_code_and_claims_name_exist():
    texts = {named(path): path.read_text(encoding="utf-8") for path in CODE if path != Path(__file__)}
    texts |= {f"source of {claim.name}": claim.source for claim in all_claims()}
    found = [(where, *place) for where, text in texts.items() for place in PLACE.findall(text)]
    assert len(found) > 80
    for where, name, anchor in found:
        path = ROOT / "docs/theory" / name
        assert path.exists(), f"{where}: docs/theory/{name}"
        if anchor:
            text = path.read_text(encoding="utf-8")
            assert anchor in ANCHOR.findall(text), f"{where}: docs/theory/{name}#{anchor}"


def test_every_source_is_the_paper_or_a_place_of_the_theory():
    for claim in all_claims():
        paper = "Fallah" in claim.source
        assert paper or PLACE.search(claim.source)[2], f"{claim.name}: {claim.source}"


def test_every_label_in_code_resolves():
    known = sections()
    labels = [(named(path), label) for path in CODE for label in LABEL.findall(path.read_text(encoding="utf-8"))]
    labels = [(where, label) for where, label in labels if where != named(Path(__file__))]
    assert len(labels) > 80
    for where, label in labels:
        section = None
        for part in re.split(r",\s*", label):
            if re.fullmatch(r"\d+(\.\d+)*", part):
                assert part in known, f"{where}: [theory {label}]: no section {part}"
                section = part
            else:
                assert re.fullmatch(r"\d[a-z]", part), f"{where}: [theory {label}]: {part} is no section and no item"
                assert section, f"{where}: [theory {label}]"
                assert re.search(rf"\[(?:[^\]$]*, )?{part}(?:, [^\]$]*)?\]", known[section]), (
                    f"{where}: [theory {label}]: section {section} has no item [{part}]"
                )


@pytest.mark.parametrize("path", [*CODE, *PAGES], ids=named)
def test_no_label_of_notes_outside_of_the_project(path):
    if path != Path(__file__):
        text = path.read_text(encoding="utf-8")
        assert not FOREIGN.search(prose(text) if path.suffix == ".md" else text), FOREIGN.search(text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_lines_have_at_most_120_characters(page):
    """But tables, displayed formulas, and a single code span, formula or link that is longer than a line."""
    formula = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        bare = line.strip()
        shown = formula or bare.startswith(("$$", "|"))
        formula = not bare.endswith("$$") if formula else bare.startswith("$$") and "$$" not in bare[2:]
        rest = re.sub(r"`[^`]+`|\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)", "", bare.lstrip("-> ")).strip()
        unbreakable = " " not in rest and rest != bare
        assert len(line) <= WIDTH or shown or unbreakable, f"{named(page)}, line {number}: {len(line)} characters"


def test_wrapping_keeps_words_and_what_they_are():
    text = "a `code  span` and $x + y$, 12. then - and + and [a link](b.md) | > # " * 3
    prose_of, shown = f"{text}\n\n- {text}\n  {text}\n- b\n\n> {text}", f"```\n{text}\n```\n$$\n{text}\n$$"
    document = f"# {text}\n\n{prose_of}\n\n| {text} |\n|---|\n\n{shown}\n"
    made = wrapped(document)
    assert [word for word in made.split() if word != ">"] == [word for word in document.split() if word != ">"]
    assert wrapped(made) == made
    free = [line for line in made.splitlines() if line not in (f"# {text}", f"| {text} |", text)]
    assert max(map(len, free)) <= WIDTH
    for start in ("12. ", "- and", "+ ", "| ", "# "):
        assert not any(line.lstrip("> ").startswith(start) for line in free)
    for line in (f"# {text}", f"| {text} |", text):
        assert line in made.splitlines()
    with_long = f"words {'`' + 'x' * 130 + '`'} words"
    assert wrapped(with_long).splitlines() == ["words", f"`{'x' * 130}`", "words"]


def test_files_that_rooms_name_are_there():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/`[^|]*\| (.*) \|$", text, flags=re.MULTILINE)
    rooms = {room: text for room, text in rows if (ROOT / "pfl_theory" / room).is_dir()}
    assert set(rooms) == {path.parent.name for path in (ROOT / "pfl_theory").glob("*/__init__.py")}
    for room, text in rooms.items():
        for name in re.findall(r"`(\w+\.py)`", text):
            assert (ROOT / "pfl_theory" / room / name).exists(), f"docs/architecture.md: {room}/{name}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=named)
def test_files_that_pages_name_are_there(page):
    """Paths with a folder; a file that a page tells to make is named in a page's own code block."""
    for name in re.findall(r"`([\w.]+/[\w./]*\.py)`", page.read_text(encoding="utf-8")):
        if name != "pfl_theory/losses/pseudo_huber.py":
            assert any((ROOT / base / name).exists() for base in ("", "pfl_theory")), f"{named(page)}: {name}"
