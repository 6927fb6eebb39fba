"""What is installed beside this package, where its user says so."""

from __future__ import annotations


def install(*extras: str) -> str:
    """The words that an error tells how to install one of these extras by.

    By no name, for on the package index keras-resnet is another project.
    """
    others = "".join(f", or [{extra}]" for extra in extras[1:])
    return f"pip install '.[{extras[0]}]'{others} in a checkout of keras_resnet"
