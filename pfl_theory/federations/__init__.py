"""Users as finite distributions, and the ways to make them. Cheap to import: NumPy only.

One file a maker, named as the function in it; a new one is a new file and its line here.
"""

from __future__ import annotations

from .classes import by_class
from .concept_shift import concept_shift, concept_shift_from_laws, concept_shift_gamma_G
from .dirichlet import dirichlet
from .federation import Federation
from .finite_support import finite_support
from .k_classes import k_classes
from .location import location
from .matching import like
from .measure import Measure
from .paper_split import paper_split, paper_split_pair
from .shards import shards
from .standard import handwritten_pair, handwritten_source
from .writers import writers, writers_pair

__all__ = [
    "Federation",
    "Measure",
    "by_class",
    "concept_shift",
    "concept_shift_from_laws",
    "concept_shift_gamma_G",
    "dirichlet",
    "finite_support",
    "handwritten_pair",
    "handwritten_source",
    "k_classes",
    "like",
    "location",
    "paper_split",
    "paper_split_pair",
    "shards",
    "writers",
    "writers_pair",
]
