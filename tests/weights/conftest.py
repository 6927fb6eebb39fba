"""Fixtures of the tests of weights."""

import keras
import pytest


@pytest.fixture(scope="module")
def networks():
    """The networks of keras.applications that the tests of a file have used so far."""
    return {}


@pytest.fixture
def published(monkeypatch, seeded, networks):
    """Replaces keras.applications' download by a network with seeded weights, which tests must not change."""

    def provide(name, **arguments):
        key = (name, *arguments.items())
        if key not in networks:
            networks[key] = seeded(getattr(keras.applications, name)(weights=None, **arguments))
        requests = []
        monkeypatch.setattr(keras.applications, name, lambda **request: requests.append(request) or networks[key])
        return networks[key], requests

    return provide
