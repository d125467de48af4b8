"""FEMNIST of LEAF (Caldas et al. 2018): characters of NIST Special Database 19 by the person who wrote them; here 105
writers.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from ..errors import DataMissingError, InputError, one_of, require
from .dataset import SPLITS, Dataset
from .download import KnownFile, data_folder, local_path, verified_bytes

FOLDER = "femnist"
NAME = "FEMNIST (105 writers)"
N_CLASSES = 62  # 0-9, A-Z, a-z
SHAPE = (28, 28)

FILE = KnownFile(
    "femnist_105writers.npz",
    1_864_683,
    "ad6ea8fda648f9573a0efd1515652fbf",
    "01248daa6481f3da0acd627ccdef7bcad0c3a1b3e48dbefba571a4e343e48e01",
)

# array -> type in the file, shape of one entry
PER_IMAGE = {
    "images": ("|u1", SHAPE),
    "labels": ("|u1", ()),
    "writer": ("<i4", ()),
    "split": ("|u1", ()),
    "duplicate": ("|u1", ()),
}


def femnist(split: str = "train", *, duplicates: bool = False) -> Dataset:
    """FEMNIST images of 105 real writers, verified by checksum and parsed strictly.

    LEAF has no canonical download (one runs its ``preprocess.sh`` on NIST's files), so nothing is downloaded: the file
    ``femnist_105writers.npz`` is looked for in ``PFL_THEORY_DATA/femnist``, then in the cache
    (``PFL_THEORY_CACHE/femnist``, else the user's own cache folder).

    The writers are of NIST's f1500 to f4099, not a random sample of FEMNIST's: they wrote about 120 digits and at most
    about one of each letter. Some labels cannot be told from the image (o, O and 0). Characters are smaller in their
    frame than MNIST's.

    Parameters
    ----------
    split : {"train", "test"}
        LEAF's own split inside each writer: 14,626 or 1,662 images.
    duplicates : bool
        Whether to keep the 105 images that repeat an earlier one of the same writer; 22 of the repeated images have a
        copy in either split.

    Returns
    -------
    Dataset
        784 pixels of 8 bits with the ink bright, as in MNIST; classes 0 to 61: digits, A to Z, a to z. `groups` is the
        writer of each image, `group_names` the 105 writers, the same in both splits.

    Raises
    ------
    DataMissingError
        The file is absent.
    InputError
        The file is not the expected one.

    Examples
    --------
    >>> from pfl_theory.datasets import femnist, femnist_available
    >>> not femnist_available() or femnist("test").x.shape == (1662, 784)
    True
    """
    one_of("split", split, SPLITS)
    path = local_path(FOLDER, FILE.name)
    if path is None:
        place = data_folder(FOLDER)
        where = f"in {place}" if place else f"in a folder {FOLDER}/ and set PFL_THEORY_DATA to the folder that holds it"
        raise DataMissingError(f"{FILE.name} is absent and has no canonical download; put it {where}; {FILE.expected}")
    arrays = _parsed(verified_bytes(path, FILE), str(path))
    keep = arrays["split"] == SPLITS.index(split)
    if not duplicates:
        keep &= arrays["duplicate"] == 0
    images = 255 - arrays["images"][keep]  # white paper is 255 in the file
    kind = "with" if duplicates else "without"
    return Dataset(
        NAME,
        images.reshape(-1, SHAPE[0] * SHAPE[1]),
        arrays["labels"][keep],
        n_classes=N_CLASSES,
        shape=SHAPE,
        source=f"FEMNIST of LEAF, {FILE.name} with verified checksum, {len(images):,} {split} images {kind} duplicates",
        split=split,
        groups=arrays["writer"][keep],
        group_names=tuple(name.decode("ascii") for name in arrays["writer_name"]),
    )


def femnist_available() -> bool:
    """Whether the FEMNIST file lies on this machine. Does not read it.

    Returns
    -------
    bool
        True where :func:`femnist` finds its file; it is verified when read.

    Examples
    --------
    >>> femnist_available() in (True, False)
    True
    """
    return local_path(FOLDER, FILE.name) is not None


def _parsed(content: bytes, name: str) -> dict[str, NDArray]:
    """The arrays of the file, each of the type, shape and range it must have. Nothing is unpickled."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as z:
            missing = {*PER_IMAGE, "writer_name"} - set(z.files)
            require(not missing, f"{name}: no array {', '.join(sorted(missing))}; expected those of {FILE.name}")
            # asarray: an entry that is no array comes as bytes, and is refused below for its type
            arrays = {key: np.asarray(z[key]) for key in (*PER_IMAGE, "writer_name")}
    except InputError:
        raise
    except Exception as error:  # a damaged zip or header can raise about anything, tokenize.TokenError among it
        raise InputError(
            f"{name}: not a readable npz file of plain arrays ({type(error).__name__}); expected {FILE.name}"
        ) from error
    names = arrays["writer_name"]
    require(
        names.ndim == 1 and names.dtype.kind == "S" and all(w and w.isascii() for w in names.tolist()),
        f"{name}: writer_name is {names.dtype} of shape {names.shape}; expected one ASCII name a writer",
    )
    n = arrays["images"].shape[:1]
    for key, (dtype, entry) in PER_IMAGE.items():
        found = arrays[key]
        require(
            found.dtype == np.dtype(dtype) and found.shape == (*n, *entry),
            f"{name}: {key} is {found.dtype} of shape {found.shape}; expected {np.dtype(dtype)} of shape "
            f"{(*n, *entry)}",
        )
    require(n[0] > 0, f"{name}: no images; expected those of {FILE.name}")
    for key, high in (("labels", N_CLASSES - 1), ("writer", len(names) - 1), ("split", 1), ("duplicate", 1)):
        low, top = int(arrays[key].min()), int(arrays[key].max())
        require(low >= 0 and top <= high, f"{name}: {key} runs from {low} to {top}; expected 0 to {high}")
    return arrays
