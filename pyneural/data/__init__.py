"""Data sets, the IDX reader, mini-batches, and texts as numbers.

The embedded :func:`digits` need no download. :func:`mnist` and :func:`fashion_mnist` are read from a local folder
(``PYNEURAL_DATA``), the cache folder, or fetched by :func:`download`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .batches import Batches as Batches
from .batches import batches as batches
from .batches import train_validation_split as train_validation_split
from .datasets import Dataset as Dataset
from .datasets import DatasetError as DatasetError
from .datasets import DatasetNotFoundError as DatasetNotFoundError
from .datasets import cache_folder as cache_folder
from .datasets import fashion_mnist as fashion_mnist
from .datasets import find as find
from .datasets import load as load
from .datasets import mnist as mnist
from .datasets import standardise as standardise
from .datasets import unit_scale as unit_scale
from .digits import digits as digits
from .graphs import Graph as Graph
from .graphs import GraphBatch as GraphBatch
from .graphs import graph_batches as graph_batches
from .idx import IDXError as IDXError
from .idx import encode_idx as encode_idx
from .idx import read_idx as read_idx
from .idx import write_idx as write_idx
from .statistics import mnist_anchors as mnist_anchors
from .text import TextBatch as TextBatch
from .text import TextBatches as TextBatches
from .text import Vocabulary as Vocabulary
from .text import characters as characters
from .text import words as words

if TYPE_CHECKING:
    from .downloads import DownloadError as DownloadError
    from .downloads import download as download


def __getattr__(name: str) -> Any:
    # Loading urllib takes as long as all the rest of this package together, and few programs download.
    if name in ("DownloadError", "download"):
        from . import downloads

        return getattr(downloads, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
