"""Optional dependencies."""

from __future__ import annotations


def install(*extras: str) -> str:
    """Returns how to install one of several extras, for error messages.

    From a checkout, since the name keras-resnet belongs to another project on the package index.
    """
    alternatives = "".join(f", or [{extra}]" for extra in extras[1:])
    return f"pip install '.[{extras[0]}]'{alternatives} in a checkout of keras_resnet"
