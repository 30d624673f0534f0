"""Pictures in one style: learning curves, image grids, code scatters, confusion tables, weights.

Every helper returns a matplotlib `Figure` that belongs to no window system and to no global state: save it with
`fig.savefig(path)`, or let a notebook show it. matplotlib is imported when the first picture is made.
"""

from .activity import unit_activity
from .clusters import center_images, voronoi_cells
from .codes import code_scatter
from .curves import learning_curves, lines
from .filters import activations, feature_maps, filter_images
from .images import image_grid, originals_over_reconstructions, weight_images
from .latent import latent_lattice
from .regions import decision_regions, regularisation_path
from .style import CLASSES, INK, LINES, new, style
from .surfaces import contour, slice_line, slice_lines, surface
from .tables import confusion_table, heat_map

__all__ = [
    "CLASSES",
    "INK",
    "LINES",
    "activations",
    "center_images",
    "code_scatter",
    "confusion_table",
    "contour",
    "decision_regions",
    "feature_maps",
    "filter_images",
    "heat_map",
    "image_grid",
    "latent_lattice",
    "learning_curves",
    "lines",
    "new",
    "originals_over_reconstructions",
    "regularisation_path",
    "slice_line",
    "slice_lines",
    "style",
    "surface",
    "unit_activity",
    "voronoi_cells",
    "weight_images",
]
