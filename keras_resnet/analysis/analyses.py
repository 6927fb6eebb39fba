"""All analyses, one row each. A new one needs a row in this table, a module of the same name, and a test.

The module defines a function of its own name, from a model and batches to the results, a `summary_line` and a `draw`.
Only the module imports Keras, so that the command line can list the analyses before a backend is chosen.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple


class Kind(NamedTuple):
    """Description of an analysis.

    Attributes:
        what: what it measures, as shown in help texts and above pictures.
        source: the publication and figure that it follows.
        images: default number of images.
        random: whether it draws random numbers, so that it takes a `seed`.
        labels: whether it uses the labels, so that the network must know the data set's classes.
        top: whether the network must have a top, as classifiers do.
        shortcuts: whether the network must have shortcuts, so that it must not be plain.
    """

    what: str
    source: str
    images: int = 1000
    random: bool = True
    labels: bool = False
    top: bool = False
    shortcuts: bool = False


ANALYSES = {
    "responses": Kind("how strongly each layer responds", "He et al. 2015, figure 7", random=False),
    "lesions": Kind(
        "the error when units are left out or swapped", "Veit et al. 2016, figures 3 and 5", labels=True, top=True
    ),
    "paths": Kind(
        "which paths the gradient takes", "Veit et al. 2016, figure 6", 16, labels=True, top=True, shortcuts=True
    ),
    "gradients": Kind("how similar the gradients of neighbouring inputs are", "Balduzzi et al. 2017, figure 1", 4),
    "identity": Kind(
        "how close units are to the identity, and what noise changes", "He et al. 2015, section 3.1", 200, top=True
    ),
    "propagation": Kind(
        "how signals and gradients grow or shrink from unit to unit",
        "He et al. 2016, equations 3 to 8",
        100,
        random=False,
        labels=True,
        top=True,
    ),
}


def module_of(name: str) -> ModuleType:
    """Returns the module of an analysis."""
    return importlib.import_module(f".{name}", __package__)
