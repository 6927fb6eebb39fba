"""Weights from elsewhere: from a file, or from the networks that keras.applications publishes."""

from .loading import load_into as load_into
