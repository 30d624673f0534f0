"""Classical learning: principal components, and the eigen-solver behind them."""

from .eigen import symmetric_eigen as symmetric_eigen
from .pca import PrincipalComponents as PrincipalComponents
from .pca import pca as pca
