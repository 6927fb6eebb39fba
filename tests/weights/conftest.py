"""What the tests of weights share."""

import keras
import pytest


@pytest.fixture(scope="module")
def networks():
    """Those of keras.applications that a file's tests have asked for."""
    return {}


@pytest.fixture
def published(monkeypatch, seeded, networks):
    """Stands in for keras.applications' download: its network with seeded weights, only to be read."""

    def provide(name, **arguments):
        key = (name, *arguments.items())
        if key not in networks:
            networks[key] = seeded(getattr(keras.applications, name)(weights=None, **arguments))
        asked = []
        monkeypatch.setattr(keras.applications, name, lambda **wanted: asked.append(wanted) or networks[key])
        return networks[key], asked

    return provide
