"""One page a statement: what stands on it, that the committed ones are what the generator makes, and bad input in a
line.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import pytest

from pfl_theory import cli, pages
from pfl_theory.claims import all_claims, get, names
from pfl_theory.errors import InputError
from pfl_theory.judging.table import COLUMNS, command

ROOT = Path(__file__).parent.parent
ALL = all_claims()


def row(claim, *, case="witness", control=False, scale="full", **other):
    """A row as the table of verdicts has it, as text."""
    made = dict.fromkeys(COLUMNS, "") | {
        "claim": claim.name,
        "version": claim.version,
        "form": claim.form,
        "instance": f"{case} | of a test",
    }
    made |= {
        "scope": "points",
        "scale": scale,
        "control": "0.99" if control else "1.0",
        "command": command(claim, case, control=control),
    }
    made |= {
        "expected": claim.expected,
        "outcome": claim.expected,
        "ratio": repr(float(claim.known_ratio)),
        "reason": "attained: a | b.",
    }
    return made | other


def in_one_line(text):
    """Prose is broken into lines, quotations with their sign: words count here."""
    return " ".join(re.sub(r"^> ", "", text, flags=re.MULTILINE).split())


ROWS = [
    line for claim in ALL for line in (row(claim), row(claim, control=True, expected="VIOLATED", outcome="VIOLATED"))
]
MADE = pages.all_pages(ALL, ROWS)


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def written(path, rows=ROWS, columns=COLUMNS):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


# --- what stands on a page ---


def test_the_ratio_of_a_sampled_row_is_what_its_ends_prove():
    """Whatever stands in the column: tables of earlier versions have the middle of the interval there."""
    claim = ALL[0]
    ends = {"lhs_lower": "0.0126648", "lhs_upper": "0.643951", "rhs_lower": "0.0118516", "rhs_upper": "0.0118517"}
    sampled = row(claim, ratio="27.7", level="0.9999", **ends)
    text = pages.page(claim.name, ALL, [sampled])
    assert "| at least 1.06 | 0.9999 |" in text
    assert "27.7 |" not in text
    assert "| 27.7 |" in pages.page(claim.name, ALL, [sampled | {"level": ""}])


def test_one_page_a_statement_and_an_index():
    assert sorted(MADE) == sorted(["README.md", *(f"{name}.md" for name in names())])


@pytest.mark.parametrize("claim", ALL, ids=lambda c: f"{c.name}-{c.version}-{c.form}")
def test_a_form_has_all_that_is_known_of_it(claim):
    text = pages.section(claim, ROWS)
    assert text in MADE[f"{claim.name}.md"]
    text = in_one_line(text)
    for part in (
        pages.heading(claim),
        pages.escaped(claim.title),
        pages.escaped(claim.statement),
        pages.linked(pages.escaped(claim.source)),
    ):
        assert part in text
    for hypothesis in claim.hypotheses:
        assert pages.escaped(hypothesis.text) in text
    for control in (False, True):
        assert f"| `{command(claim, 'witness', control=control)}` |" in text
    assert ("refuted" in text) == (claim.expected == "VIOLATED")
    assert (f"names no value of {claim.open_constant}" in text) == bool(claim.open_constant)
    assert "(expected" not in text


def test_every_row_of_every_table_has_as_many_cells_as_its_head():
    for name, text in MADE.items():
        width = 0
        for line in text.splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not cells or not width or cells == width, f"{name}: {line}"
            width = cells


def test_the_same_claims_and_rows_give_the_same_pages():
    assert pages.all_pages(all_claims(), [dict(line) for line in ROWS]) == MADE


def test_every_claim_has_words_for_the_front_table():
    for name in names():
        assert any(claim.short for claim in ALL if claim.name == name), name


def test_full_rows_come_before_quick_ones():
    claim = get("lemma-4.2")
    quick, full = row(claim, scale="quick", instance="small"), row(claim, instance="large")
    assert pages.rows_of(claim, [quick, full]) == [full]
    assert pages.rows_of(claim, [quick]) == [quick]
    assert "quick scale" in pages.section(claim, [quick])
    assert "quick scale" not in pages.section(claim, [quick, full])
    assert "not in the table" in pages.section(claim, [])


def test_an_outcome_that_is_not_expected_says_so():
    claim = get("lemma-4.2")
    assert "| VIOLATED (expected HOLDS) |" in pages.section(claim, [row(claim, outcome="VIOLATED")])


def test_digits_tell_sides_apart():
    assert (
        pages.shortened("left side at least 1.00000025, right side at most 1.00000012.") == "1.00000025 > 1.00000012."
    )
    assert (
        pages.shortened("left side at least 2e-09, right side at most 1.23456789e-09. Judged twice.")
        == "2e-09 > 1.23457e-09. Judged twice."
    )
    assert pages.shortened("word " * 100).endswith("word ...")


# --- the front table ---


def test_table_of_all_statements_says_what_became_of_the_transcribed_statement():
    lines = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ")
        for line in pages.every_statement(ALL, ROWS).splitlines()[2:]
    }
    assert list(lines) == pages.ordered(ALL)
    assert lines["lemma-4.2"][1:3] == ["holds: 4 L + alpha rho B", "0.995 reached"]
    assert lines["hessian-free-error"][2] == "0.5 reached"
    assert lines["theorem-4.5"][1].startswith("**refuted** for r < 1")
    assert lines["theorem-4.5"][2] == "O(1) >= 1.4 needed"
    assert lines["first-order-floor"][1].startswith("open constant")
    assert lines["first-order-bias"][1:3] == ["no constant to judge", ""]
    assert lines["gamma-chain"][4] == "attained"


def test_front_table_is_five_statements_in_words():
    lines = [line.strip("| ").split(" | ") for line in pages.front_table(ALL, ROWS).splitlines()]
    assert [line[0].partition("]")[0] for line in lines[2:]] == [
        "[Lemma 4.2",
        "[Lemma 4.4",
        "[Section 4.1",
        "[Theorem 4.5",
        "[Corollary 4.6",
    ]
    assert lines[5][1:3] == ["**refuted** for r < 1", "O(1) >= 1.4 needed"]
    assert lines[2][1:3] == ["holds", "0.995 reached"]
    assert not set("=^") & set("".join(line[0] for line in lines[2:]))  # words, no formulas


def test_what_is_said_to_be_reached_is_reached():
    claim = get("theorem-4.5-full")
    assert pages.how_tight([claim], []) == "O(1) >= 3.99 needed"  # 3.996
    worse = row(
        claim, case="no-noise", ratio="5000.0", lhs_lower="4096.7", rhs_upper="1.0"
    )  # 5000 is the middle of an interval
    assert pages.how_tight([claim], [*ROWS, worse]) == "O(1) >= 4090 needed"
    bias = get("lemma-4.3-bias")
    assert pages.how_tight([bias], [row(bias, ratio="0.9949999999999999")]) == "0.995 reached"


def test_front_table_goes_between_its_markers():
    old = f"before\n{pages.START}\nold\n{pages.END}\nafter\n"
    new = pages.with_front_table(old, "new")
    assert new == f"before\n{pages.START}\n\nnew\n\n{pages.END}\nafter\n"
    assert pages.with_front_table(new, "new") == new
    assert pages.with_front_table("nothing", "new") == "nothing"


@pytest.mark.parametrize("text", [pages.START, pages.END, pages.END + pages.START, 2 * (pages.START + pages.END)])
def test_damaged_markers(text):
    with pytest.raises(InputError, match="mend the markers"):
        pages.with_front_table(text, "new")


# --- what is committed ---


@pytest.mark.parametrize("name", sorted(MADE))
def test_committed_pages_are_what_the_generator_makes(name):
    made = pages.all_pages(ALL, pages.read_rows(ROOT / "figures/verdicts.csv"))
    assert (ROOT / "docs/claims" / name).read_text(encoding="utf-8") == made[name], "run: make pages"


def test_no_page_is_left_of_a_statement_that_is_gone():
    assert sorted(path.name for path in (ROOT / "docs/claims").iterdir()) == sorted(MADE)


def test_committed_front_table_is_what_the_generator_makes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert pages.START in text
    assert (
        pages.with_front_table(text, pages.front_table(ALL, pages.read_rows(ROOT / "figures/verdicts.csv"))) == text
    ), "run: make pages"


def test_links_of_pages_lead_somewhere():
    for path in (ROOT / "docs/claims").glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


# --- the command ---


def test_command_writes_replaces_and_removes_its_own_pages_only(capsys, tmp_path):
    table, out, readme = written(tmp_path / "v.csv"), tmp_path / "claims", tmp_path / "R.md"
    readme.write_text(f"# A\n{pages.START}\n{pages.END}\n", encoding="utf-8")
    out.mkdir()
    (out / "mine.md").write_text("notes of someone\n", encoding="utf-8")
    (out / "lemma-1.md").write_text(f"{pages.MARK}\n", encoding="utf-8")
    arguments = ("pages", "--verdicts", table, "--out", str(out), "--readme", str(readme))
    code, said, err = call(capsys, *arguments)
    assert (code, err) == (0, "")
    assert "removed: lemma-1.md" in said
    assert "written anew" in said
    assert sorted(path.name for path in out.iterdir()) == sorted([*MADE, "mine.md"])
    assert {path.name: path.read_text(encoding="utf-8") for path in out.iterdir() if path.name != "mine.md"} == MADE
    assert pages.front_table(ALL, ROWS) in readme.read_text(encoding="utf-8")
    assert "unchanged" in call(capsys, *arguments)[1]
    readme.unlink()
    assert "no markers" in call(capsys, *arguments)[1]
    assert not readme.exists()


def one_line(capsys, *arguments):
    code, _, err = call(capsys, "pages", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_bad_input_is_told_in_a_line(capsys, tmp_path):
    table, out = written(tmp_path / "v.csv"), str(tmp_path / "claims")
    assert "make figures" in one_line(capsys, "--verdicts", str(tmp_path / "none.csv"), "--out", out)
    assert "lacks command" in one_line(
        capsys, "--verdicts", written(tmp_path / "w.csv", columns=COLUMNS[:-1]), "--out", out
    )
    odd = written(tmp_path / "o.csv", [ROWS[0], ROWS[1] | {"ratio": "large"}])
    assert "line 3: ratio = 'large'" in one_line(capsys, "--verdicts", odd, "--out", out)
    with Path(odd).open("a", encoding="utf-8") as stream:
        stream.write("lemma-4.2,paper\n")
    Path(odd).write_text(Path(odd).read_text(encoding="utf-8").replace("large", "1.0"), encoding="utf-8")
    assert "line 4: not as many fields" in one_line(capsys, "--verdicts", odd, "--out", out)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00claim")
    assert "cannot be read" in one_line(capsys, "--verdicts", str(tmp_path / "binary.csv"), "--out", out)
    assert not (tmp_path / "claims").exists()
    assert "not a folder" in one_line(capsys, "--verdicts", table, "--out", table, "--readme", "")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/README.md").write_text("a README of someone\n", encoding="utf-8")
    assert "not replaced" in one_line(capsys, "--verdicts", table, "--out", str(tmp_path / "taken"), "--readme", "")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["README.md"]
    broken = tmp_path / "broken.md"
    broken.write_text(pages.START, encoding="utf-8")
    assert "mend the markers" in one_line(capsys, "--verdicts", table, "--out", out, "--readme", str(broken))
    assert not (tmp_path / "claims").exists()


def test_a_statement_without_words_is_still_a_row():
    plain = [dataclasses.replace(claim, short="") for claim in ALL]
    assert "| lemma-4.2 | holds | 0.995 reached |  |" in pages.every_statement(plain, [])
