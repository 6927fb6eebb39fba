"""Every way to look into a network, one row each. A new one costs a row here, a module of that name, and a test.

The module has a function of its own name, from a model and batches to the results, a `summary_line` and a `draw`. Keras
is imported with the module alone, so that the command line can list the rows before a backend is chosen.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple


class Kind(NamedTuple):
    """A way to look into a network.

    Attributes:
        what: what it finds.
        source: where that was first looked at.
        images: how many it looks with, if its user does not say.
        random: whether something is drawn at random, so that it takes a seed.
        labels: whether it looks at what the images show, so that the network must know the data set's classes.
    """

    what: str
    source: str
    images: int = 1000
    random: bool = True
    labels: bool = False


ANALYSES = {
    "responses": Kind("how strongly each layer responds", "He et al. 2015, figure 7", random=False),
    "lesions": Kind("the error when units are left out or swapped", "Veit et al. 2016, figures 3 and 5", labels=True),
    "paths": Kind("which paths the gradient takes", "Veit et al. 2016, figure 6", 16, labels=True),
    "gradients": Kind("whether gradients of neighbouring inputs are alike", "Balduzzi et al. 2017, figure 1", 4),
    "identity": Kind("how near units are to the identity, and what noise changes", "He et al. 2015, section 3.1", 200),
    "propagation": Kind(
        "how signals go forward, and gradients back, through the shortcuts' factors",
        "He et al. 2016, equations 3 to 8",
        100,
        random=False,
        labels=True,
    ),
}


def tool(name: str) -> ModuleType:
    """The module of a row."""
    return importlib.import_module(f".{name}", __package__)
