"""Learners with scikit-learn's conventions: fit, predict, transform, score, get_params, set_params.

They work in scikit-learn's pipelines and searches, and without scikit-learn, which is not imported here.
"""

from .base import NotFittedError as NotFittedError
from .cluster import CompetitiveLearning as CompetitiveLearning
from .cluster import KMeans as KMeans
from .cluster import MiniBatchKMeans as MiniBatchKMeans
