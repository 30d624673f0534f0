"""What a convolutional network has learned: its filters, and what its layers make of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .images import _image, weight_images
from .style import big_title, new, small_title, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def filter_images(weight: Any, *, most: int = 64, columns: int = 16, title: str = "") -> Figure:
    """The filters of a convolution as images: red positive, blue negative, one scale for all.

    Args:
        weight: (out, in, H, W): an array, a tensor, or a layer that has such a weight. A filter of several input
            channels is as many images, titled "out.in".
        most: Images that are drawn at most, the first ones.
        columns: Images in a row.

    Raises ValueError if the weight has other than four dimensions.
    """
    values = np.asarray(getattr(weight, "weight", weight))
    if values.ndim != 4 or values.size == 0:
        raise ValueError(f"filter_images: the weight must be (out, in, H, W), not empty, got shape {values.shape}")
    outputs, inputs, *shape = values.shape
    names = [f"{o}.{i}" if inputs > 1 else str(o) for o in range(outputs) for i in range(inputs)]
    pictures = values.reshape(outputs * inputs, *shape)[:most]
    return weight_images(pictures, names[:most], columns=columns, shape=(shape[0], shape[1]), title=title)


def activations(model: Any, image: Any) -> dict[str, np.ndarray]:
    """What each layer of a model makes of one image: name and kind of the layer -> (channels, H, W).

    Layers are those without layers of their own whose output is (1, channels, H, W). The model is put into evaluation
    mode meanwhile.

    Args:
        model: A module; its parameters' dtype is the one that the image is converted to.
        image: (channels, H, W), or (H, W) for one channel.
    """
    from ..models import batchwise

    picture = np.asarray(image)
    picture = picture[None] if picture.ndim == 2 else picture
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if getattr(output, "ndim", 0) == 4:
                found[name] = np.array(output.detach())[0]

        return hook

    handles = []
    try:
        for name, module in model.named_modules():
            if not list(module.children()):
                handles.append(module.register_forward_hook(keep(f"{name} {type(module).__name__}".strip())))
        batchwise(model, model, picture[None])
    finally:
        for handle in handles:
            handle.remove()
    return found


def feature_maps(model: Any, image: Any, *, most: int = 12, title: str = "") -> Figure:
    """The image, and below it a row of maps for each layer of the model that gives maps: dark is large.

    Args:
        model: A module of any kind (see :func:`activations` for its layers).
        image: (channels, H, W), or (H, W) for one channel.
        most: Maps of a layer that are drawn at most, the first ones.

    Raises ValueError if no layer gives maps.
    """
    picture = np.asarray(image)
    picture = picture[None] if picture.ndim == 2 else picture
    rows = {"image": picture} | activations(model, picture)
    if len(rows) == 1:
        raise ValueError("feature_maps: no layer of the model gives maps (1, channels, H, W)")
    width = max(min(most, len(maps)) for maps in rows.values())
    fig, axes = new(len(rows), width, width=0.72 * width + 1.3, height=0.78 * len(rows) + 0.25 * bool(title))
    with style():
        for line, (name, maps) in zip(np.reshape(axes, (len(rows), width)), rows.items(), strict=True):
            shown = maps[:most]
            look = {"cmap": "gray_r", "vmin": float(shown.min()), "vmax": float(shown.max())}
            for ax in line[len(shown) :]:
                ax.set_visible(False)
            for number, (ax, one) in enumerate(zip(line, shown, strict=False)):
                _image(ax, one, **look)
                small_title(ax, number)
            rest = f"\n{maps.shape[0]} of {maps.shape[1]}x{maps.shape[2]}"
            line[0].set_ylabel(name.replace(" ", "\n") + rest, fontsize=6.5, rotation=0, ha="right", va="center")
        big_title(fig, title)
    return fig
