"""Optimisers and step-size schedules, under PyTorch's names and with PyTorch's update formulas."""

from . import lr_scheduler as lr_scheduler
from .adam import Adam as Adam
from .adam import Adamax as Adamax
from .adam import AdamW as AdamW
from .adam import NAdam as NAdam
from .lbfgs import LBFGS as LBFGS
from .optimizer import Optimizer as Optimizer
from .sgd import SGD as SGD
from .sgd import Adadelta as Adadelta
from .sgd import Adagrad as Adagrad
from .sgd import RMSprop as RMSprop
