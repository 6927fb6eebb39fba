"""Residual networks of He et al. 2015 and 2016 for Keras 3: built, trained, tested on TensorFlow, JAX and Torch."""

import lazy_loader

from .version import __version__ as __version__

# The public names stand in __init__.pyi; each is imported when it is first used, so that the command line can settle
# the backend before Keras is imported.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
