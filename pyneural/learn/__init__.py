"""Classical learning: k-means, competitive learning, principal components and the eigen-solver behind them,
support vector machines."""

from .competitive import CompetitiveLayer as CompetitiveLayer
from .competitive import Move as Move
from .discriminant import linear_discriminants as linear_discriminants
from .eigen import symmetric_eigen as symmetric_eigen
from .lloyd import Iteration as Iteration
from .lloyd import KMeansResult as KMeansResult
from .lloyd import kmeans as kmeans
from .minibatch import MiniBatch as MiniBatch
from .pca import PrincipalComponents as PrincipalComponents
from .pca import pca as pca
from .randomized import randomized_pca as randomized_pca
from .svm import Kernel as Kernel
from .svm import Limits as Limits
from .svm import Machines as Machines
from .svm import svc as svc
from .svm import svr as svr
from .svm_dual import DualSolution as DualSolution
from .svm_dual import solve_dual as solve_dual
