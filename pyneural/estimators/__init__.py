"""Learners with scikit-learn's conventions: fit, predict, transform, score, get_params, set_params.

They work in scikit-learn's pipelines and searches, and without scikit-learn, which is not imported here.
"""

from .autoencoders import Autoencoder as Autoencoder
from .autoencoders import VariationalAutoencoder as VariationalAutoencoder
from .base import NotFittedError as NotFittedError
from .cluster import CompetitiveLearning as CompetitiveLearning
from .cluster import KMeans as KMeans
from .cluster import MiniBatchKMeans as MiniBatchKMeans
from .decomposition import PCA as PCA
from .network import MLPClassifier as MLPClassifier
from .network import MLPRegressor as MLPRegressor
from .svm import SVC as SVC
from .svm import SVR as SVR
