"""The package's version, in a module that is quick to import."""

__version__ = "0.1.0"
