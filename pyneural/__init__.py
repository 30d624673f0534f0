"""pyneural: neural networks and classical learning at C++ speed, the same bits every time, every number explained.

Names, argument orders and defaults are PyTorch's, dtypes are NumPy's::

    import pyneural as pn
    from pyneural import nn, optim, functional as F

    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    trainer = pn.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3))
    history = trainer.fit(images, labels, epochs=5, batch_size=64)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as _np

try:
    from . import _openmp as _openmp  # before anything that loads the extensions
except ImportError as _error:
    if "cannot import name '_kernels'" not in str(_error):
        raise
    raise ImportError(
        f"pyneural: {__path__[0]} holds the sources, which are not built. Install them (pip install .) and start "
        "Python in another folder, or install them in place (pip install -e .)"
    ) from None
from . import tensor as _tensor_module
from .tensor import (
    Tensor,
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    is_tensor,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)

tensor = _tensor_module.tensor  # the function takes the place of the module of its name

from . import ops, random  # noqa: E402
from ._kernels import available_isas, current_isa, set_isa, set_num_threads  # noqa: E402
from ._kernels import num_threads as get_num_threads  # noqa: E402
from .autodiff import (  # noqa: E402
    enable_grad,
    grad,
    gradcheck,
    gradgradcheck,
    hessian,
    hvp,
    is_grad_enabled,
    jacobian,
    jvp,
    no_grad,
    set_grad_enabled,
    value_and_grad,
    vjp,
)
from .ops import *  # noqa: E402, F403
from .precision import autocast, is_autocast_enabled  # noqa: E402
from .random import (  # noqa: E402
    Generator,
    bernoulli,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    set_rng_state,
    uniform,
)

for _name, _method in ops.METHODS.items():
    setattr(Tensor, _name, _method)

float32, float64 = _np.float32, _np.float64
int8, int16, int32, int64, uint8 = _np.int8, _np.int16, _np.int32, _np.int64, _np.uint8
bool_ = _np.bool_
inf, nan, pi = _np.inf, _np.nan, _np.pi

#: Parts that cost time to import and are not needed by every program, imported when first used.
_LAZY = {"nn": ".nn", "optim": ".optim", "functional": ".functional", "data": ".data", "training": ".training",
         "experiments": ".experiments", "plots": ".plots", "autodiff": ".autodiff",
         "distributions": ".distributions",
         "metrics": ".metrics", "model_selection": ".model_selection",
         "persistence": ".persistence",
         "models": ".models", "surfaces": ".surfaces", "learn": ".learn", "estimators": ".estimators"}  # fmt: skip
_LAZY_NAMES = {"Trainer": ".training", "History": ".training", "EarlyStopping": ".callbacks", "Callback": ".callbacks",
               "AdversarialTrainer": ".adversarial",
               "compile": ".compiling", "CaptureError": ".compiling", "Compiled": ".compiling",
               "explain": ".explaining", "show_config": ".environment", "reference": "._reference",
               "compare_with_reference": "._reference", "save": ".persistence", "load": ".persistence",
               "Checkpoint": ".checkpoints"}  # fmt: skip

if TYPE_CHECKING:
    from . import autodiff as autodiff
    from . import data as data
    from . import distributions as distributions
    from . import estimators as estimators
    from . import experiments as experiments
    from . import functional as functional
    from . import learn as learn
    from . import metrics as metrics
    from . import model_selection as model_selection
    from . import models as models
    from . import nn as nn
    from . import optim as optim
    from . import persistence as persistence
    from . import plots as plots
    from . import training as training
    from ._reference import compare_with_reference as compare_with_reference
    from ._reference import reference as reference
    from .adversarial import AdversarialTrainer as AdversarialTrainer
    from .callbacks import Callback as Callback
    from .callbacks import EarlyStopping as EarlyStopping
    from .checkpoints import Checkpoint as Checkpoint
    from .compiling import CaptureError as CaptureError
    from .compiling import Compiled as Compiled
    from .compiling import compile as compile
    from .environment import show_config as show_config
    from .explaining import explain as explain
    from .persistence import load as load
    from .persistence import save as save
    from .training import History as History
    from .training import Trainer as Trainer

__all__ = [
    "Generator", "Tensor", "arange", "as_tensor", "autocast", "available_isas", "bernoulli", "bool_", "current_isa",
    "empty", "empty_like", "enable_grad", "eye", "float32", "float64", "from_numpy", "full", "full_like",
    "get_num_threads", "get_rng_state", "grad", "gradcheck", "gradgradcheck", "hessian", "hvp", "inf", "initial_seed",
    "int16", "int32", "int64", "int8", "is_autocast_enabled", "is_grad_enabled", "is_tensor", "jacobian", "jvp",
    "linspace", "manual_seed", "nan", "no_grad", "normal", "ones", "ones_like", "ops", "pi", "rand", "rand_like",
    "randint", "randn", "randn_like", "random", "randperm", "set_grad_enabled", "set_isa", "set_num_threads",
    "set_rng_state", "tensor", "uint8", "uniform", "value_and_grad", "vjp", "zeros", "zeros_like",
]  # fmt: skip
__all__ += ops.__all__


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        from .environment import version

        return version()
    if name in _LAZY:
        return import_module(_LAZY[name], __name__)
    if name in _LAZY_NAMES:
        return getattr(import_module(_LAZY_NAMES[name], __name__), name)
    raise AttributeError(f"module 'pyneural' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_NAMES})
