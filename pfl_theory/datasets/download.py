"""Files of data sets: where they may lie, fetching what is absent, and trusting none before its checksum fits.

A file is looked for in ``PFL_THEORY_DATA/<folder>``, then in the cache (``PFL_THEORY_CACHE``, else the user's own),
then fetched: by itself, or inside the archive in which it is published.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataMissingError, InputError, OutputError, require

TIMEOUT = 30  # seconds without a byte, not for the whole file


@dataclass(frozen=True)
class KnownFile:
    """A file that is published under this name with these checksums."""

    name: str
    n_bytes: int
    md5: str
    sha256: str

    @property
    def expected(self) -> str:
        """What the right file is, for messages."""
        return f"expected {self.n_bytes:,} bytes with md5 {self.md5} and sha256 {self.sha256}"


@dataclass(frozen=True)
class Archive:
    """A tar archive, published with these checksums, that holds `members` in its folder `inside`."""

    file: KnownFile
    inside: str
    members: tuple[KnownFile, ...]


class _UnreachableError(Exception):
    """No mirror has the file; the text says what each answered."""


def data_folder(folder: str) -> Path | None:
    """``PFL_THEORY_DATA/<folder>``, or None where the variable is unset."""
    root = os.environ.get("PFL_THEORY_DATA")
    return Path(root) / folder if root else None


def cache_folder(folder: str) -> Path:
    """Where downloads of this data set are kept."""
    root = os.environ.get("PFL_THEORY_CACHE")
    if root:
        return Path(root) / folder
    import pooch

    return Path(pooch.os_cache("pfl-theory")) / folder


def local_path(folder: str, name: str) -> Path | None:
    """The first place where the file lies, not yet verified; None where it is absent. No network."""
    places = [p for p in (data_folder(folder), cache_folder(folder)) if p is not None]
    return next((p / name for p in places if (p / name).is_file()), None)


def verified_bytes(path: Path, known: KnownFile) -> bytes:
    """Content of `path`, whose checksum is the published one.

    Raises
    ------
    InputError
        The file cannot be read, or is not the published one (truncated, corrupted, another file).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {known.expected}") from error
    return _verified(content, str(path), known, "; replace or delete it")


def _verified(content: bytes, where: str, known: KnownFile, advice: str = "") -> bytes:
    if hashlib.sha256(content).hexdigest() != known.sha256:
        found = f"{len(content):,} bytes with md5 {hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        raise InputError(f"{where}: not the published {known.name} ({found}); {known.expected}{advice}")
    return content


def mirrors_of(base_url: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Where to download from: the places that were given, one or several, else the known ones."""
    if base_url is None:
        return tuple(known)
    return (base_url,) if isinstance(base_url, str) else tuple(base_url)


def obtain(
    folder: str, known: KnownFile, *, mirrors: Sequence[str], download: bool = True, archive: Archive | None = None
) -> bytes:
    """Verified content of a file of a data set: found here, else fetched from the first mirror that has it.

    Parameters
    ----------
    folder : str
        Folder of the data set, e.g. ``"mnist"``.
    known : KnownFile
        Name and checksums.
    mirrors : sequence of str
        Base URLs, tried in this order.
    download : bool
        Whether the network may be used.
    archive : Archive, optional
        What is fetched, where the file is published inside an archive: of it, the members that are not here are kept.

    Raises
    ------
    DataMissingError
        The file is absent, and may not or could not be fetched.
    InputError
        The file found, or every file offered, is not the published one. Nothing of a refused download is left.
    """
    path = local_path(folder, known.name)
    if path is not None:
        # A wrong file is never silently replaced by a download: the user put it there, or should know that a disk lies.
        return verified_bytes(path, known)
    if not download:
        raise _missing(folder, known, "downloading is off here")
    target = cache_folder(folder)
    try:
        if archive is None:
            fetch(target, known, mirrors)
        else:
            fetch_members(target, archive, mirrors, [m for m in archive.members if local_path(folder, m.name) is None])
    except _UnreachableError as error:
        raise _missing(folder, known, str(error)) from error
    return verified_bytes(target / known.name, known)


def fetch_members(target: Path, archive: Archive, mirrors: Sequence[str], wanted: Sequence[KnownFile]) -> None:
    """Download `archive` and keep its `wanted` members in the folder `target`; each appears there whole and verified,
    or not at all. Of the archive itself nothing is left.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        # A folder of this process's own: nobody looks into it, and a kill in the middle leaves nothing that is read.
        with tempfile.TemporaryDirectory(dir=target, prefix=".unpacking-") as own:
            path = fetch(Path(own), archive.file, mirrors)
            _unpack(path, archive, wanted, Path(own))
            for known in wanted:
                os.replace(Path(own) / known.name, target / known.name)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unpack(path: Path, archive: Archive, wanted: Sequence[KnownFile], to: Path) -> None:
    """The wanted members, under their own names: no name in the archive is ever used as a path, and no more is read of
    a member than the published file has.
    """
    left = {f"{archive.inside}/{known.name}": known for known in wanted}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                known = left.pop(member.name.removeprefix("./"), None)
                if known is None:
                    continue
                where = f"{member.name} in {archive.file.name}"
                require(
                    member.isreg() and member.size == known.n_bytes,
                    f"{where}: {member.size:,} bytes{'' if member.isreg() else ', not a plain file'}; {known.expected}",
                )
                stream = tar.extractfile(member)
                assert stream is not None  # a plain file has content
                (to / known.name).write_bytes(_verified(stream.read(known.n_bytes), where, known))
                if not left:
                    break
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{archive.file.name}: not a readable archive ({error}); {archive.file.expected}") from error
    require(not left, f"{archive.file.name}: has no {', '.join(left)}; {archive.file.expected}")


def fetch(target: Path, known: KnownFile, mirrors: Sequence[str]) -> Path:
    """Download `known` into the folder `target`; it appears there whole and verified, or not at all."""
    import pooch
    import requests

    failures, wrong = [], False
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + known.name
        try:
            # pooch writes to a temporary file, compares the checksum, and only then moves it to its name.
            # "identity": a server that calls a .gz file gzip-encoded would have it unpacked on the way.
            downloader = pooch.HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
            return Path(
                pooch.retrieve(
                    url, known_hash=f"sha256:{known.sha256}", fname=known.name, path=target, downloader=downloader
                )
            )
        except requests.exceptions.RequestException as error:
            # In the order of the class hierarchy: these are also OSError, some of them ValueError.
            failures.append(f"{url}: {_reason(error)}")
        except OSError as error:
            raise _unwritable(target, error) from error
        except ValueError:
            wrong = True
            failures.append(f"{url}: sent something else")
    if wrong:
        raise InputError(
            f"{known.name}: no mirror sent the published file ({'; '.join(failures)}); {known.expected}; nothing "
            "was kept"
        )
    raise _UnreachableError("; ".join(failures) or "no mirror given")


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{target}: cannot be written ({error.strerror or error}); set PFL_THEORY_CACHE to a folder that can, or make "
        "room"
    )


def _reason(error: Exception) -> str:
    """A network error in a few words: its text repeats the address and runs over lines."""
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else type(error).__name__


def _missing(folder: str, known: KnownFile, why: str) -> DataMissingError:
    place = data_folder(folder)
    where = f"in {place}" if place else f"in a folder {folder}/ and set PFL_THEORY_DATA to the folder that holds it"
    return DataMissingError(f"{known.name} is absent ({why}); put it {where}, or allow the download; {known.expected}")
