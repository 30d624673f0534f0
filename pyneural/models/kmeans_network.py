"""k-means as a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, ops
from ..tensor import Tensor, as_tensor


class KMeansNetwork(nn.Module):
    """k-means as a network whose weights are the centres: it rebuilds a row from the centre that is most like it.

    The score of centre c is x . c - |c|^2 / 2, which is largest for the nearest one; a softmax of the scores times
    ``sharpness`` gives shares p, and the output is their mix of centres, p C. Trained to give x back, the centres move
    towards the rows that they win; as ``sharpness`` grows, p becomes the one-hot choice of k-means.

    Args:
        centers: To start from, (k, d).
        sharpness: The reciprocal of the softmax's temperature.
        constant_shares: Keep gradients from flowing through the softmax: p then counts as given, and a step of SGD
            moves each centre exactly towards the mean of its rows.
        dtype: Of the centres; float32 by default.

    Attributes:
        centers: The only parameter, (k, d).

    Shapes: x (N, d), output (N, d).

    Raises:
        ValueError: centers is no matrix with rows and columns, or sharpness is not above 0.
    """

    centers: nn.Parameter

    def __init__(
        self, centers: Any, sharpness: float = 20.0, *, constant_shares: bool = False, dtype: Any = None
    ) -> None:
        super().__init__()
        start = np.array(centers, dtype=np.float32 if dtype is None else dtype)
        if start.ndim != 2 or start.size == 0:
            raise ValueError(f"KMeansNetwork: centers must be rows, (k, d), got shape {start.shape}")
        if not sharpness > 0:
            raise ValueError(f"KMeansNetwork: sharpness must be above 0, got {sharpness}")
        self.centers = nn.Parameter(as_tensor(start))
        self.sharpness = float(sharpness)
        self.constant_shares = bool(constant_shares)

    def scores(self, x: Tensor) -> Tensor:
        """x . c - |c|^2 / 2 for every row and centre, (N, k)."""
        return x @ self.centers.T - 0.5 * ops.square(self.centers).sum(1)

    def shares(self, x: Tensor) -> Tensor:
        """The softmax of the scores, (N, k)."""
        return ops.softmax(self.scores(x) * self.sharpness, 1)

    def forward(self, x: Tensor) -> Tensor:
        p = self.shares(x)
        return (p.detach() if self.constant_shares else p) @ self.centers

    def extra_repr(self) -> str:
        return f"centers={self.centers.shape}, sharpness={self.sharpness:g}, constant_shares={self.constant_shares}"
