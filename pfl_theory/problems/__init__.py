"""Problems: the users' functions, their derivatives and constants."""

from .functions import Noise
from .problem import Problem

__all__ = ["Noise", "Problem"]
