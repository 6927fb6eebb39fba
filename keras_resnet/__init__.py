"""The residual networks of He et al. 2015 and 2016 in Keras 3, for TensorFlow, JAX and Torch."""

import lazy_loader

from .version import __version__ as __version__

# The public names are listed in __init__.pyi. Each is imported on first use, so that the command line can select the
# backend before Keras is imported.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
