"""Markdown prose in lines of at most 120 characters; code, tables, headings and displayed formulas stay as they are."""

from __future__ import annotations

import re

WIDTH = 120
# never broken: code, formulas, links
_ATOM = re.compile(r"`[^`\n]+`|\$[^$\n]+\$|!?\[[^\]\n]*\]\([^)\n]*\)")
_ITEM = re.compile(r"( *)(?:[-*+]|\d+[.)])( +)(?=\S)")
# words that would begin a list, a heading, a quotation, a table or a formula if they stood first in a line
_BEGINS = re.compile(r"(?:[-+*]|\d+[.)]|#{1,6}|=+|-+)$|[>|]|```|\$\$|<!--")
_WHOLE = re.compile(r" *(?:\||#{1,6} |<!--|<a id=\"[^\"]*\"></a>$|\[[^\]]+\]: )")


def wrapped(text: str, width: int = WIDTH) -> str:
    r"""`text` with its prose in lines of at most `width` characters, list items and quotations indented as they begin.

    A word, a code span, a formula or a link longer than a line stands alone in one.

    Parameters
    ----------
    text : str
        Markdown.
    width : int
        Longest line.

    Returns
    -------
    str
        The same document: words, and what they are, do not change.

    Examples
    --------
    >>> print(wrapped("- one `two three` four - five\n\n| a long row | stays |", 20))
    - one `two three`
      four - five
    <BLANKLINE>
    | a long row | stays |
    """
    made: list[str] = []
    block: list[str] = []  # prose that belongs together: one paragraph, list item or quotation
    fence = formula = False

    def close() -> None:
        if block:
            made.extend(_filled(block, width))
            block.clear()

    for line in text.split("\n"):
        bare = line.strip()
        if fence or formula:
            made.append(line)
            fence, formula = fence and bare != "```", formula and not bare.endswith("$$")
        elif bare.startswith("```"):
            close()
            made.append(line)
            fence = True
        elif bare.startswith("$$"):
            close()
            made.append(line)
            formula = "$$" not in bare[2:]
        elif not bare or _WHOLE.match(line) or (not block and line.startswith("    ")):
            close()
            made.append(line)
        else:
            if _ITEM.match(line) or (bare.startswith(">") and not (block and block[0].lstrip().startswith(">"))):
                close()
            block.append(line)
    close()
    return "\n".join(made)


def _filled(block: list[str], width: int) -> list[str]:
    """One paragraph, item or quotation in lines of `width`."""
    first = block[0]
    item = _ITEM.match(first)
    indent = first[: len(first) - len(first.lstrip())]
    if first.lstrip().startswith(">"):
        start = rest = indent + "> "
        text = " ".join(line.strip().lstrip(">").strip() for line in block)
    elif item:
        start, rest = item[0], " " * len(item[0])
        text = " ".join([first[len(start) :].strip(), *(line.strip() for line in block[1:])])
    else:
        start = rest = indent
        text = " ".join(line.strip() for line in block)
    lines, line = [], start
    for word in _words(text):
        if line.strip() and line not in (start, rest) and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = rest + word
        else:
            line += word if line in (start, rest) else f" {word}"
    return [*lines, line]


def _words(text: str) -> list[str]:
    """What is never broken: words, with the atoms and the block beginnings that follow them."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    held = _ATOM.sub(keep, text).split()
    restored = [re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], word) for word in held]
    words: list[str] = []
    for word in restored:
        if words and _BEGINS.match(word):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words
