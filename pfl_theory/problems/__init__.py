"""Problems: the users' functions, their derivatives and constants, and how far users are from each other in them."""

from .functions import Noise
from .heterogeneity import AlongRun, Debiased, debiased_gamma_G, gamma_along_run
from .label_shift import class_gradients, gamma_G_by_label_shift, label_shift_bound
from .problem import Problem
from .search import search_gamma_G
from .suprema import Supremum, gamma_G_slope, supremum_gamma_G

__all__ = [
    "AlongRun",
    "Debiased",
    "Noise",
    "Problem",
    "Supremum",
    "class_gradients",
    "debiased_gamma_G",
    "gamma_G_by_label_shift",
    "gamma_G_slope",
    "gamma_along_run",
    "label_shift_bound",
    "search_gamma_G",
    "supremum_gamma_G",
]
