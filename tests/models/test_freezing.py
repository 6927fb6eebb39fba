"""A frozen part keeps its values, computes the same in training and inference, and learns again once it is unfrozen."""

import keras
import numpy as np
import pytest

import keras_resnet
from comparing import changed, values


def fit(model, epochs=1):
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    images, labels = rng.normal(1, 2, (24, 16, 16, 3)).astype("float32"), rng.integers(0, 3, 24)
    model.fit(images, labels, batch_size=8, epochs=epochs, verbose=0)
    return images, labels


def network(**choices):
    keras.utils.set_random_seed(0)
    return keras_resnet.CifarResNet(8, classes=3, input_shape=(16, 16, 3), **choices)


ALL = {"stem", "stage1", "stage2", "stage3", "logits"}
FROZEN = [
    ("stem", ALL - {"stem"}),
    ("stage1", {"stage2", "stage3", "logits"}),
    ("stage2", {"stage3", "logits"}),
    ("stage3", {"logits"}),
    ("features", {"logits"}),
]
# Which layers are frozen is the same on every backend: that they stay as they are, is seen in a single case.
FROZEN = FROZEN if keras.backend.backend() == "torch" else FROZEN[2:3]


@pytest.mark.parametrize(("until", "learns"), FROZEN)
def test_neither_weights_nor_statistics_of_a_frozen_part_move_and_all_others_do(until, learns):
    model = network()
    before = values(model)
    keras_resnet.freeze(model, until=until)
    fit(model)
    assert changed(before, values(model)) == learns


def test_layers_before_the_stem_are_frozen_with_it():
    image = keras.Input((32, 32, 5))
    model = keras_resnet.CifarResNet(8, input_tensor=keras.layers.Conv2D(3, 1, name="adapter")(image))
    keras_resnet.freeze(model)
    assert [layer.name for layer in model.layers if layer.trainable and layer.weights] == ["logits"]
    keras_resnet.freeze(model, "stem")
    assert not model.get_layer("adapter").trainable and model.get_layer("stage1_unit1_conv1").trainable


def test_the_last_stage_of_version_2_includes_the_activation_after_it():
    model = network(order="full_preactivation")
    before = values(model)
    keras_resnet.freeze(model, until="stage3")
    fit(model)
    assert changed(before, values(model)) == {"logits"}
    keras_resnet.freeze(model, until="stage2")
    fit(model)
    assert changed(before, values(model)) == {"stage3", "head", "logits"}


def test_a_frozen_network_computes_the_same_in_training_and_inference(seeded):
    """The difference that surprises users is batch norm by the batch's own statistics."""
    model = seeded(network())
    images = np.random.default_rng(1).normal(1, 2, (8, 16, 16, 3)).astype("float32")

    def difference():
        training, testing = (keras.ops.convert_to_numpy(model(images, training=mode)) for mode in (True, False))
        return np.abs(training - testing).max()

    assert difference() > 1e-3
    keras_resnet.freeze(model, until="stage3")
    assert difference() == 0
    keras_resnet.unfreeze(model)
    assert difference() > 1e-3


def test_the_error_in_fit_and_the_one_afterwards_agree():
    model = network()
    keras_resnet.freeze(model)
    images, labels = fit(model)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=24, verbose=0, validation_data=(images, labels)).history
    loss, accuracy = model.evaluate(images, labels, verbose=0)
    for reported in (history["loss"][0], history["val_loss"][0]):
        assert reported == pytest.approx(loss, rel=1e-5)
    assert history["accuracy"][0] == history["val_accuracy"][0] == pytest.approx(accuracy)


def test_an_unfrozen_network_learns_again():
    model = network()
    keras_resnet.freeze(model)
    fit(model)
    before = values(model)
    keras_resnet.unfreeze(model)
    fit(model)
    assert changed(before, values(model)) == ALL


def test_freezing_less_unfreezes_the_rest():
    model = network()
    keras_resnet.freeze(model, until="stage3")
    keras_resnet.freeze(model, until="stem")
    before = values(model)
    fit(model)
    assert changed(before, values(model)) == ALL - {"stem"}


def test_a_model_that_was_frozen_as_a_whole_learns_again():
    """Keras trains no layer of a model with `trainable=False`, whatever the layer's own setting."""
    model = network()
    model.trainable = False
    keras_resnet.freeze(model, until="stage2")
    before = values(model)
    fit(model)
    assert changed(before, values(model)) == {"stage3", "logits"}
    model.trainable = False
    keras_resnet.unfreeze(model)
    fit(model)
    assert changed(before, values(model)) == ALL


def test_a_network_in_another_model_learns_again():
    inner = network(include_top=False, pooling="avg")
    keras_resnet.freeze(inner, until="stage2")
    model = keras.Sequential([inner, keras.layers.Dense(3, "softmax")])
    keras_resnet.unfreeze(model)
    before = values(inner)
    fit(model)
    assert changed(before, values(inner)) == ALL - {"logits"}


def test_a_normalisation_is_never_trained():
    image = keras.Input((16, 16, 3))
    layer = keras.layers.Normalization(mean=[1.0] * 3, variance=[4.0] * 3)
    model = keras_resnet.CifarResNet(8, input_tensor=layer(image), classes=3)
    keras_resnet.freeze(model)
    keras_resnet.unfreeze(model)
    assert len(model.trainable_variables) == len(network().trainable_variables)


@pytest.mark.parametrize("until", ["stage4", "logits", "conv1", None])
def test_an_unknown_part_is_refused_with_the_valid_ones(until):
    with pytest.raises(ValueError, match=rf"one of stem, stage1, stage2, stage3, features for .* Received: {until!r}"):
        keras_resnet.freeze(network(), until=until)
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        keras_resnet.freeze(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
