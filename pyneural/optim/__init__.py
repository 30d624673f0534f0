"""Optimisers and step-size schedules, under PyTorch's names and with PyTorch's update formulas.

A running mean or square (the m and v of the classes) that falls below the smallest normal number, 1.2e-38 in float32,
becomes 0; a square only where eps is above 0. Where gradients have become 0, as of units that no longer react, it would
otherwise end among the subnormal numbers, with which a CPU takes much longer in every later step.
"""

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
