"""The version, and nothing that takes time to import."""

__version__ = "0.1.0"
