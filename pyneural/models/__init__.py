"""Whole models, made of the layers of :mod:`pyneural.nn`: ready to be trained by :class:`pyneural.Trainer`."""

from .autoencoder import Autoencoder as Autoencoder
from .dense import TiedLinear as TiedLinear
from .dense import batchwise as batchwise
from .dense import dense as dense
