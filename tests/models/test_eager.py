"""Networks with faster calls agree with Keras's up to rounding, and keep no outputs longer than needed."""

from __future__ import annotations

import copy
import pickle
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, numpy
from keras_resnet import backend
from keras_resnet.models.fast_layers import use_fast_layers
from keras_resnet.models.taps import features, taps
from twins import EVERY_CHOICE, images, networks_learn_alike, twin_networks

RUNNING = keras.backend.backend()
# On other backends only the layers are replaced, and `test_fast_layers` tests each of them: a few variants suffice.
VARIANTS = EVERY_CHOICE if RUNNING == "torch" else EVERY_CHOICE[::6]


@pytest.mark.parametrize("choices", VARIANTS, ids=lambda choices: "-".join(map(str, choices.values())))
def test_every_variant_computes_and_learns_like_one_of_keras_layers(choices):
    model, plain = twin_networks(**choices)
    x = images(model)
    alike(model(x), plain(x), 1e-4)
    networks_learn_alike(model, plain)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-4), ("mixed_bfloat16", 0.1)])
def test_in_other_precisions(dtype, tolerance):
    model, plain = twin_networks(dtype, shortcut="A", stem="imagenet")
    found, expected = model(images(model)), plain(images(model))
    assert found.dtype == expected.dtype
    alike(found, expected, tolerance)


def test_a_stateless_call_computes_with_the_values_it_is_given():
    model, plain = twin_networks()
    x = images(model)
    half = [
        [0.5 * keras.ops.convert_to_tensor(each) for each in kind]
        for kind in (model.trainable_variables, model.non_trainable_variables)
    ]
    found, expected = (each.stateless_call(*half, x, training=False)[0] for each in (model, plain))
    alike(found, expected)
    assert np.abs(numpy(found) - numpy(model(x))).max() > 1e-3


def test_averages_move_as_often_as_a_layer_is_called_and_with_those_of_models_within():
    """Outputs use statistics that no other call of the step has updated; the updates follow the order of the calls."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 16))
    twice = layers.BatchNormalization(momentum=0.5)
    inner = keras.Model(image, layers.BatchNormalization(momentum=0.9, epsilon=0.1)(image))
    plain = keras.Model(image, inner(twice(layers.Rescaling(3.0, 1.0)(twice(image)))))
    model = keras.models.clone_model(plain)
    use_fast_layers(model)
    use_fast_layers(model.get_layer(inner.name))
    x = images(model)
    for each in (model, plain):
        each(x, training=True)
    for found, expected in zip(model.weights, plain.weights, strict=True):
        np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-5, atol=1e-6, err_msg=found.path)
    assert np.abs(numpy(plain.get_layer(twice.name).moving_mean)).max() > 0.1


def test_a_kernel_with_lora_is_the_sum_that_keras_makes():
    model, plain = twin_networks()
    x = images(model)
    model(x)
    for each in (model, plain):
        convolution = next(layer for layer in each.layers if isinstance(layer, layers.Conv2D))
        convolution.enable_lora(2)
        convolution.lora_kernel_b.assign(np.ones(convolution.lora_kernel_b.shape))
        convolution.lora_kernel_a.assign(0.1 * np.ones(convolution.lora_kernel_a.shape))
    alike(model(x), plain(x))


def test_inputs_and_outputs_are_never_overwritten():
    model, plain = twin_networks()
    x = images(model)
    tensor = keras.ops.convert_to_tensor(x)
    names = list(taps(model))
    found, expected = (features(each, names)(tensor) for each in (model, plain))
    np.testing.assert_array_equal(numpy(tensor), x)
    for name in names:
        alike(found[name], expected[name], 1e-4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_graphs_of_other_shapes(data_format):
    """A layer called twice, a tensor added to itself, a sum of three, padding on one side or for two layers."""
    last = data_format == "channels_last"
    image = keras.Input((8, 8, 2) if last else (2, 8, 8))
    spatial = {"data_format": data_format}
    x = layers.BatchNormalization(axis=-1 if last else 1)(image)
    relu = layers.ReLU()
    x = layers.Add()([relu(x), relu(layers.Add()([x, x]))])
    x = layers.Add()([x, x, layers.ReLU(max_value=1.0)(x)])
    padded = layers.ZeroPadding2D(1, **spatial)(x)
    pooled = layers.MaxPooling2D(3, 1, **spatial)(padded)
    x = layers.Concatenate()([pooled, layers.AveragePooling2D(3, 1, **spatial)(padded)])
    x = layers.MaxPooling2D(2, 1, **spatial)(layers.ZeroPadding2D(((1, 0), (0, 1)), **spatial)(x))
    x = layers.Activation("relu")(layers.Activation("tanh")(x))
    x = layers.MaxPooling2D(3, 2, "same", **spatial)(layers.ZeroPadding2D(1, **spatial)(x))
    plain = keras.Model(image, [layers.GlobalMaxPooling2D(**spatial)(x), x])
    x = images(plain)
    given = plain(x)
    model = use_fast_layers(keras.models.clone_model(plain))
    model.set_weights(plain.get_weights())
    for found, expected in zip(model(x), given, strict=True):
        alike(found, expected, 1e-4)


def test_zeros_that_pad_a_map_are_the_maxima_of_negative_values():
    """Only after a ReLU does it not matter that kernels pad with minus infinity."""
    image = keras.Input((6, 6, 2))
    model = use_fast_layers(keras.Model(image, layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(image))))
    expected = -np.ones((1, 3, 3, 2))
    expected[:, 0] = expected[:, :, 0] = 0
    np.testing.assert_array_equal(numpy(model(-np.ones((1, 6, 6, 2), "float32"))), expected)


def test_a_training_argument_in_the_graph_takes_precedence_over_inference():
    """As in Keras, if the call of the model does not set `training`."""
    image = keras.Input((4, 4, 2))
    model = use_fast_layers(keras.Model(image, layers.BatchNormalization(epsilon=1e-3)(image, training=True)))
    x = 5 + 3 * images(model)
    alike(model(x), (x - x.mean(axis=(0, 1, 2))) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-3))


def test_a_layer_with_an_activity_regularizer_is_left_to_keras():
    """And its output is not overwritten by the ReLU after it, since the gradient of the regularizer needs it."""
    image = keras.Input((4, 4, 2))
    plain = keras.Model(image, layers.ReLU()(layers.Conv2D(3, 1, activity_regularizer="l2")(image)))
    model = use_fast_layers(keras.models.clone_model(plain))
    model.set_weights(plain.get_weights())
    x = images(model)
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.1), "mse")
        each.train_on_batch(x, np.zeros((3, 4, 4, 3)))
        each(x)
    alike(*model.losses, *plain.losses)
    for found, expected in zip(model.weights, plain.weights, strict=True):
        alike(found, expected)


class Watch(layers.Layer):
    """Records whether the output of an earlier layer of this class still exists."""

    def __init__(self, before=None, **arguments):
        super().__init__(**arguments)
        self.before, self.given, self.alive = before, None, None

    def call(self, x):
        if self.before is not None:
            self.alive = self.before.given() is not None
        y = x * 2.0
        self.given = weakref.ref(y)
        return y


def test_outputs_that_no_later_layer_takes_are_released():
    first = Watch()
    second = Watch(first)
    image = keras.Input((4,))
    x = layers.Rescaling(3.0)(layers.Rescaling(2.0)(first(image)))
    model = use_fast_layers(keras.Model(image, second(x)))
    model(np.ones((1, 4), "float32"), training=False)
    assert second.alive == (backend.eager_layers() is None)  # Keras keeps it until the end


def test_it_is_a_functional_model_to_other_code(tmp_path):
    model, plain = twin_networks()
    assert model.__class__ is plain.__class__
    assert isinstance(model, plain.__class__)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is plain.__class__
    alike(again(images(model)), model(images(model)), 1e-5)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        alike(copied(images(model)), model(images(model)), 1e-5)
