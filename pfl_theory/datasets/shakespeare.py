"""Tiny Shakespeare (Karpathy 2015): what each person of the plays says, as windows of characters and the next one."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import InputError, one_of, require
from .dataset import SPLITS, Dataset
from .download import KnownFile, local_path, mirrors_of, obtain

FOLDER = "shakespeare"
NAME = "tiny Shakespeare"
MIRRORS = ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",)
ALPHABET = "\n !$&',-.3:;?" + string.ascii_uppercase + string.ascii_lowercase  # sorted; every symbol of the text

FILE = KnownFile(
    "input.txt",
    1_115_394,
    "6fb458f1232090904fb40fe944165e91",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)

# In capitals, as the persons are, and still whoever stands there: a crowd, or a role that other plays write otherwise.
ROLES_IN_CAPITALS = frozenset({"ALL", "ALL SERVING-MEN", "ANOTHER", "GARDENER", "GENTLEMEN", "LORDS", "NURSE", "PAGE"})


@dataclass(frozen=True)
class Speech:
    """What one speaker says at a time, without the line that names the speaker."""

    speaker: str
    text: str


def shakespeare(
    split: str = "train",
    *,
    context: int = 10,
    least: int = 2000,
    most: int = 1500,
    download: bool = True,
    base_url: str | Sequence[str] | None = None,
) -> Dataset:
    """The next character of what a person of Shakespeare's plays says, from the characters before it.

    The file ``input.txt``, verified by checksum and parsed strictly, is looked for in ``PFL_THEORY_DATA/shakespeare``,
    then in the cache (``PFL_THEORY_CACHE/shakespeare``, else the user's own cache folder), then downloaded into the
    cache.

    A user is a *named person*: a name that the text writes in capitals (ROMEO), but for eight that are roles all the
    same (ALL, LORDS, NURSE, ...). Names in small letters are roles (First Citizen, Messenger, Both) and are dropped;
    with them go the few that are one person and have no name (Nurse, Provost). One name is one user in all plays.

    A row is a window: `context` characters and the one that follows them, all of the same speech. Each person's
    speeches, in the order of the text, are cut between two of them where about half of the characters are said: before
    the cut is for training, after it for test, so that no character of one part is seen in the other.

    Parameters
    ----------
    split : {"train", "test"}
        First or second half of each person's speeches.
    context : int
        Characters before the one that is to be told.
    least : int
        Persons who say fewer characters in all are dropped, and so are those without a window in one of the two parts.
    most : int
        Windows of a person that are kept in each part, the first in the order of the text. As given both parts together
        take 160 MB; all windows would take 510 MB.
    download : bool
        Whether the file may be downloaded where it is absent.
    base_url : str or sequence of str, optional
        Where to download from, instead of the known place.

    Returns
    -------
    Dataset
        Features 0 and 1: the symbols of the context one after the other, ``shape`` is (`context`, 65). Classes 0 to 64:
        the symbols in the order of their codes, newline first. `groups` is the speaker of each window, `group_names`
        the speakers in the order of their first speech, the same in both splits.

    Raises
    ------
    DataMissingError
        The file is absent and may not, or could not, be downloaded.
    InputError
        The file is not the published one, or nobody has a window in both parts.

    Examples
    --------
    >>> from pfl_theory.datasets import shakespeare, shakespeare_available
    >>> if shakespeare_available():
    ...     lines = shakespeare(context=4, download=False)
    ...     assert lines.shape == (4, 65) and lines.group_names[:2] == ("MENENIUS", "MARCIUS")
    """
    one_of("split", split, SPLITS)
    for name, number in (("context", context), ("least", least), ("most", most)):
        require(
            isinstance(number, (int, np.integer)) and not isinstance(number, bool) and number >= 1,
            f"{name} = {number!r}: must be a whole number >= 1",
        )
    mirrors = mirrors_of(base_url, MIRRORS)
    persons: dict[str, list[str]] = {}
    for speech in speeches(obtain(FOLDER, FILE, mirrors=mirrors, download=download), FILE.name):
        if is_person(speech.speaker):
            persons.setdefault(speech.speaker, []).append(speech.text)
    halves = {name: _halves(texts) for name, texts in persons.items() if sum(map(len, texts)) >= least}
    kept = [name for name, both in halves.items() if all(max(map(len, part), default=0) > context for part in both)]
    require(
        len(kept) > 0,
        f"least = {least:,}, context = {context:,}: nobody in {FILE.name} says so much, with a speech of more than "
        f"{context:,} characters in both halves; use a smaller one",
    )
    windows = [_windows(halves[name][SPLITS.index(split)], context)[:most] for name in kept]
    every = np.concatenate(windows)
    what = f"{len(kept)} persons, windows of {context} characters and the next one"
    return Dataset(
        NAME,
        np.eye(len(ALPHABET), dtype=np.uint8)[every[:, :-1]].reshape(len(every), -1),
        every[:, -1].astype(np.int64),
        n_classes=len(ALPHABET),
        shape=(int(context), len(ALPHABET)),
        scale=1.0,
        source=f"tiny Shakespeare, {FILE.name} of karpathy/char-rnn with verified checksum, {what}, {len(every):,} "
        f"{split} windows",
        split=split,
        groups=np.repeat(np.arange(len(kept)), [len(part) for part in windows]),
        group_names=tuple(kept),
    )


def shakespeare_available() -> bool:
    """Whether the text lies on this machine. Uses no network and does not read it.

    Returns
    -------
    bool
        True where ``shakespeare(download=False)`` finds its file; it is verified when read.

    Examples
    --------
    >>> shakespeare_available() in (True, False)
    True
    """
    return local_path(FOLDER, FILE.name) is not None


def is_person(name: str) -> bool:
    """Whether a speaker's name is that of one person: written in capitals, and none of the roles that are so too.

    Examples
    --------
    >>> [name for name in ("ROMEO", "KING HENRY VI", "First Citizen", "All", "ALL", "Young MARCIUS") if is_person(name)]
    ['ROMEO', 'KING HENRY VI']
    """
    return name.isupper() and name not in ROLES_IN_CAPITALS


def speeches(content: bytes, name: str) -> Iterator[Speech]:
    """The speeches of the text in order; the empty ones (a ghost that has been seen only) too.

    Parameters
    ----------
    content : bytes
        Speeches with an empty line between them, each the speaker's name with a colon, a line of its own, and what is
        said.
    name : str
        Of the file, for messages.

    Raises
    ------
    InputError
        Another character than the 65 of the text, or a speech without its speaker.

    Examples
    --------
    >>> list(speeches(b"ROMEO:\\nAy me!\\n\\nJULIET:\\nO, speak\\nagain!\\n", "input.txt"))
    [Speech(speaker='ROMEO', text='Ay me!'), Speech(speaker='JULIET', text='O, speak\\nagain!')]
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: byte {error.start:,} is no ASCII; expected tiny Shakespeare") from error
    strange = sorted(set(text) - set(ALPHABET))
    require(
        not strange,
        f"{name}: has {', '.join(map(repr, strange[:5]))}; expected the {len(ALPHABET)} symbols of tiny Shakespeare",
    )
    for k, block in enumerate(text.split("\n\n")):
        first, _, said = block.strip("\n").partition("\n")  # two of the empty lines are two
        require(
            len(first) > 1 and first.endswith(":"),
            f"{name}: speech {k:,} begins {first[:40]!r}; expected a speaker's name and a colon",
        )
        yield Speech(" ".join(first[:-1].split()), said)


def _halves(texts: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Speeches before and after the cut whose first part comes closest to half of the characters."""
    said = np.cumsum([len(text) for text in texts])
    cut = int(np.argmin(np.abs(2 * said - said[-1]))) + 1
    return texts[:cut], texts[cut:]


def _windows(texts: Sequence[str], context: int) -> NDArray:
    """Numbers of the symbols of every window that lies inside one of the texts, shape (N, context + 1)."""
    number = np.zeros(128, np.uint8)
    number[[ord(symbol) for symbol in ALPHABET]] = np.arange(len(ALPHABET))
    long = [number[np.frombuffer(text.encode("ascii"), np.uint8)] for text in texts if len(text) > context]
    return np.concatenate([sliding_window_view(codes, context + 1) for codes in long])
