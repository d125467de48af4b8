"""Users as finite distributions, and the ways to make them. Cheap to import: NumPy only.

One file a maker, named as the function in it: a new one is found by itself.
"""

from __future__ import annotations

from ..discovery import functions_named_as_files
from .classes import by_class
from .concept_shift import concept_shift_from_laws, concept_shift_gamma_G
from .federation import Federation
from .latent import latent_pair
from .matching import like
from .measure import Measure
from .paper_split import paper_split_pair
from .standard import handwritten_source, paper_pair
from .writers import writers_pair

_FOUND = functions_named_as_files(__name__, __path__)
globals().update(_FOUND)

__all__ = [
    "Federation",
    "Measure",
    "by_class",
    "concept_shift_from_laws",
    "concept_shift_gamma_G",
    "handwritten_source",
    "latent_pair",
    "like",
    "paper_pair",
    "paper_split_pair",
    "writers_pair",
    *_FOUND,
]
