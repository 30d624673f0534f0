"""The functions of :mod:`pyneural.functional`, where PyTorch has them: ``import pyneural.nn.functional as F``."""

from __future__ import annotations

from ..functional import *  # noqa: F403
from ..functional import __all__ as __all__
