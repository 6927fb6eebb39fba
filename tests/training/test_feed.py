"""A recipe's choices about images reach the training batches, and epochs consist of entire batches."""

from __future__ import annotations

import itertools
from unittest.mock import Mock

import numpy as np
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

# None of these is a default of the data set.
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


def batch_arguments(monkeypatch, kind, module, **choices):
    """Returns the arguments about augmentation with which the training batches of a recipe are made."""
    constructor = Mock(wraps=kind)
    monkeypatch.setattr(f"keras_resnet.data.{module}.{kind.__name__}", constructor)
    recipe = small_runs.small_recipe(batch_size=4, seed=7, **choices)
    data = load(recipe.dataset)
    dataset_defaults = data.defaults(None, None)
    assert all(dataset_defaults[name] != choices[name] for name in AUGMENTATION if name in choices)
    recipe = recipe.resolve(data.train_count // 4, defaults(recipe, data, None))
    Feed(recipe, data, Devices(), Machine())
    arguments = constructor.call_args.kwargs
    assert (arguments["batch_size"], arguments["seed"], arguments["shard"]) == (4, 7, (0, 1))
    return {name: arguments[name] for name in AUGMENTATION if name in arguments}


def test_all_choices_about_images_in_memory_reach_their_batches(monkeypatch):
    assert batch_arguments(monkeypatch, TrainingBatches, "datasets", **OF_ARRAYS) == OF_ARRAYS


def test_all_choices_about_photographs_reach_their_batches(monkeypatch, album):
    choices = {"dataset": f"folder:{album}", **OF_PHOTOGRAPHS, **GROWING}
    expected = {**OF_PHOTOGRAPHS, "size": (16, 16, 48, 48)}
    assert batch_arguments(monkeypatch, StreamTrainingBatches, "streams", **choices) == expected


def test_the_tests_above_cover_all_choices():
    assert {*OF_ARRAYS, *OF_PHOTOGRAPHS, "size"} == {*AUGMENTATION}


def test_parts_of_an_incomplete_batch_are_left_out_of_every_epoch():
    """97 images are one batch of 64, in eight parts, and four parts of another."""
    data = load("digits")
    recipe = small_runs.small_recipe(batch_size=64, accumulate=8).resolve(1, data.defaults())
    feed = Feed(recipe, data, Devices(), Machine())
    expected = [feed.batches.batch(epoch, part)[0] for epoch in (0, 1, 2) for part in range(8)]
    streamed = [images for images, _ in itertools.islice(feed.training_batches(0, 0), 24)]
    np.testing.assert_array_equal(streamed, expected)
    resumed = [images for images, _ in feed.fit_batches(1, 3, end=2)]
    np.testing.assert_array_equal(resumed, expected[8 + 3 : 16])
