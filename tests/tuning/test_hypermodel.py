"""`HyperResNet` can replace keras-tuner's own; see also `once`."""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest

import facts
import keras_resnet
from keras_resnet.tuning.space import space


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_its_default_is_the_papers_network_and_optimizer(data_format):
    """Whatever data format Keras is set to: its images are (height, width, channels)."""
    keras.config.set_image_data_format(data_format)
    try:
        model = keras_resnet.HyperResNet().build(keras_tuner.HyperParameters())
    finally:
        keras.config.set_image_data_format("channels_last")
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == facts.CIFAR_PARAMETERS[20]["v1_A"]
    assert model.optimizer.coupled_decay == 1e-4
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert model.get_layer("stage3_unit3_add").output.shape[1:] == (8, 8, 64)  # keras-tuner's would be 1x1


def test_keras_tuner_searches_with_it_and_loads_the_best(tmp_path):
    rows = space("shape", changes={"units_per_stage": "1", "width": "0.25", "shortcut": "B,C", "batch_size": "16,32"})
    hypermodel = keras_resnet.HyperResNet((8, 8, 1), 3, rows)
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=1, seed=1, directory=tmp_path)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (48, 8, 8, 1)), rng.integers(0, 3, 48)
    tuner.search(images, labels, validation_data=(images, labels), epochs=2, verbose=0)
    (model,) = tuner.get_best_models()
    accuracy = (np.asarray(model.predict(images, verbose=0)).argmax(axis=1) == labels).mean()
    (best,) = tuner.oracle.get_best_trials()
    assert best.status == "COMPLETED"
    assert accuracy == pytest.approx(best.score, abs=0.03)
