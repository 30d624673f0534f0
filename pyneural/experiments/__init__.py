"""The experiments: one file per id (the file is the id with underscores), found by name and imported only when asked
for.

`frame` says how an experiment is written and run; `find`, `ids` and `load_all` look them up. `demo` is the main job of
the package and not an experiment; modules whose name starts with an underscore are shared helpers.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from pyneural.experiments.frame import Experiment

#: The source documents, and what each is about.
DOCUMENTS = {
    "000_fb1690ef72ed0c7c.txt": "Backpropagation by hand, autoencoders plain and variational, support vector machines",
    "001_b6a7a572bac0f98c.txt": "Autoencoders beside principal components; optimisers",
    "002_e3b0b6e208b34aec.txt": "Optimisers and imitation, convolutions, sequences, graphs, clustering, adversaries",
    "003_54ca632be7020186.txt": "Classifiers on Fashion-MNIST, initialisation, regeneration, margins",
    "004_7b7278b8294b24c0.txt": "Convexity, automatic differentiation, information and variational bounds",
    "beyond": "Beyond the source documents",
}
_NOT_EXPERIMENTS = {"frame", "demo"}


class UnknownExperiment(LookupError):
    """An id that no file answers to; the message names the closest ids."""


def ids() -> list[str]:
    """The ids of all experiments, in alphabetical order, from file names alone: nothing is imported."""
    names = (m.name for m in pkgutil.iter_modules(__path__))
    return sorted(n.replace("_", "-") for n in names if n not in _NOT_EXPERIMENTS and not n.startswith("_"))


def find(id: str) -> Experiment:
    """The experiment called `id`; only its own module is imported. Raises UnknownExperiment."""
    known = ids()
    if id not in known:
        close = difflib.get_close_matches(id, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`pyneural list` shows all of them"
        raise UnknownExperiment(f"no experiment is called {id!r}: {hint}")
    module = importlib.import_module(f"{__name__}.{id.replace('-', '_')}")
    found = [v for v in vars(module).values() if isinstance(v, Experiment) and v.module == module.__name__]
    if [x.id for x in found] != [id]:
        raise TypeError(
            f"{module.__name__}: the file must define exactly the experiment {id!r}, it defines {[x.id for x in found]}"
        )
    return found[0]


def load_all() -> list[Experiment]:
    """Every experiment, ordered by source document and id."""
    return sorted((find(i) for i in ids()), key=lambda x: (x.source.split(" ")[0], x.id))
