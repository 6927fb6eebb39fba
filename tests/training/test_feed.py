"""That what a recipe says of its images reaches the batches that are trained on."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

import small_runs
from keras_resnet.backend.devices import Devices
from keras_resnet.data import TrainingBatches, load
from keras_resnet.data.stream_batches import StreamTrainingBatches
from keras_resnet.training.feed import Feed
from keras_resnet.training.machine import Machine
from keras_resnet.training.recipe import AUGMENTATION
from keras_resnet.training.transfer import defaults
from pictures import jpeg, photograph

# None of these is what a data set would do by itself.
OF_ARRAYS = {"flip": True, "pad": 3, "cutout": 2}
OF_PHOTOGRAPHS = {"flip": False, "crop": "aspect_ratio", "scales": (50, 60), "color": "pca"}
GROWING = {"size": 48, "first_size": 16, "epochs": 4}


@pytest.fixture
def album(tmp_path):
    """A folder of photographs of two classes."""
    for split in ("train", "val"):
        for number in range(4):
            path = tmp_path / split / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(photograph(number, 40, 44)))
    return tmp_path


def given(monkeypatch, kind, where, **choices):
    """What the training batches of a recipe are made with."""
    made = Mock(wraps=kind)
    monkeypatch.setattr(f"keras_resnet.data.{where}.{kind.__name__}", made)
    recipe = small_runs.small_recipe(batch_size=4, seed=7, **choices)
    data = load(recipe.dataset)
    unsaid = data.defaults(None, None)
    assert all(unsaid[name] != choices[name] for name in AUGMENTATION if name in choices)
    recipe = recipe.resolve(data.train_count // 4, defaults(recipe, data, None))
    Feed(recipe, data, Devices(), Machine())
    found = made.call_args.kwargs
    assert (found["batch_size"], found["seed"], found["shard"]) == (4, 7, (0, 1))
    return {name: found[name] for name in AUGMENTATION if name in found}


def test_all_that_a_recipe_says_of_images_in_memory_reaches_their_batches(monkeypatch):
    assert given(monkeypatch, TrainingBatches, "datasets", **OF_ARRAYS) == OF_ARRAYS


def test_all_that_a_recipe_says_of_photographs_reaches_their_batches(monkeypatch, album):
    choices = {"dataset": f"folder:{album}", **OF_PHOTOGRAPHS, **GROWING}
    expected = {**OF_PHOTOGRAPHS, "size": (16, 16, 48, 48)}
    assert given(monkeypatch, StreamTrainingBatches, "streams", **choices) == expected


def test_nothing_that_a_recipe_can_say_is_left_out_above():
    assert {*OF_ARRAYS, *OF_PHOTOGRAPHS, "size"} == {*AUGMENTATION}
