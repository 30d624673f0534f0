"""Whole models, made of the layers of :mod:`pyneural.nn`: ready to be trained by :class:`pyneural.Trainer`."""

from .adversarial import conv_discriminator as conv_discriminator
from .adversarial import conv_generator as conv_generator
from .adversarial import dense_discriminator as dense_discriminator
from .adversarial import dense_generator as dense_generator
from .autoencoder import Autoencoder as Autoencoder
from .decoding import Hypothesis as Hypothesis
from .decoding import beam_search as beam_search
from .decoding import greedy as greedy
from .decoding import sample as sample
from .dense import TiedLinear as TiedLinear
from .dense import batchwise as batchwise
from .dense import dense as dense
from .kmeans_network import KMeansNetwork as KMeansNetwork
from .mlp import MLP as MLP
from .mlp import initialise as initialise
from .seq2seq import AdditiveAttention as AdditiveAttention
from .seq2seq import DotAttention as DotAttention
from .seq2seq import Forcing as Forcing
from .seq2seq import Seq2Seq as Seq2Seq
from .seq2seq import sequence_loss as sequence_loss
from .vae import KLWarmup as KLWarmup
from .vae import Variational as Variational
from .vae import VariationalAutoencoder as VariationalAutoencoder
from .vae import gaussian_kl as gaussian_kl
from .vae import lattice as lattice
