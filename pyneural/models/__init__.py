"""Whole models, made of the layers of :mod:`pyneural.nn`: ready to be trained by :class:`pyneural.Trainer`."""

from .adversarial import conv_discriminator as conv_discriminator
from .adversarial import conv_generator as conv_generator
from .adversarial import dense_discriminator as dense_discriminator
from .adversarial import dense_generator as dense_generator
from .autoencoder import Autoencoder as Autoencoder
from .dense import TiedLinear as TiedLinear
from .dense import batchwise as batchwise
from .dense import dense as dense
from .kmeans_network import KMeansNetwork as KMeansNetwork
from .mlp import MLP as MLP
from .mlp import initialise as initialise
from .vae import KLWarmup as KLWarmup
from .vae import Variational as Variational
from .vae import VariationalAutoencoder as VariationalAutoencoder
from .vae import gaussian_kl as gaussian_kl
from .vae import lattice as lattice
