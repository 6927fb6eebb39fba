"""Writes results that must be the same on every backend; run as a program, once per backend.

These are the logits of several networks, and a network's weights after a few steps of training, from initial weights
and images that depend on names and seeds alone.
"""

import sys

from keras_resnet import backend

backend.select_backend()  # before Keras imports what it does not need, which takes seconds

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_resnet  # noqa: E402
from keras_resnet.backend.devices import Devices  # noqa: E402
from keras_resnet.data import load  # noqa: E402
from keras_resnet.training.feed import Feed  # noqa: E402
from keras_resnet.training.folder import Progress  # noqa: E402
from keras_resnet.training.learning_rate import LearningRate  # noqa: E402
from keras_resnet.training.machine import Machine  # noqa: E402
from keras_resnet.training.networks import build  # noqa: E402
from keras_resnet.training.recipes import recipe_for  # noqa: E402

STEPS = 4

NETWORKS = {
    "ResNet14-A": lambda: keras_resnet.CifarResNet(14, shortcut="A"),
    "ResNet14V2-B": lambda: keras_resnet.CifarResNet(14, order="full_preactivation", shortcut="B"),
    "ResNet14-C": lambda: keras_resnet.CifarResNet(14, shortcut="C"),
    "PlainNet14": lambda: keras_resnet.CifarResNet(14, shortcut=None),
    "PlainNet14-max_pool": lambda: keras_resnet.CifarResNet(14, shortcut=None, downsample="max_pool"),
    "one-layer": lambda: keras_resnet.CifarResNet(11, unit="one_layer"),
    "bottleneck-grey-odd": lambda: keras_resnet.CifarResNet(20, unit="bottleneck", input_shape=(33, 41, 1)),
    **{
        order: lambda order=order: keras_resnet.CifarResNet(8, order=order)
        for order in ("bn_after_addition", "relu_before_addition", "relu_only_preactivation")
    },
    **{
        skip: lambda skip=skip: keras_resnet.CifarResNet(8, skip=skip)
        for skip in ("constant_scaling", "exclusive_gating", "shortcut_only_gating", "conv", "dropout")
    },
    "ImageNet": lambda: keras_resnet.ResNet((1, 1, 1, 1), (16, 32, 64, 128), input_shape=(96, 96, 3)),
    "ImageNet V2": lambda: keras_resnet.ResNet50V2(
        input_shape=(64, 64, 3), stage_units=(1, 1, 1, 1), width=0.25, stride_on="3x3"
    ),
    "channels-first": lambda: keras_resnet.CifarResNet(8, data_format="channels_first", input_shape=(3, 32, 32)),
}


def seed(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for variable in sorted(model.weights, key=lambda weight: weight.path):
        name = variable.path.rsplit("/", 1)[-1]
        value = rng.standard_normal(variable.shape)
        scale, offset = {
            "gamma": (0.1, 0.7),
            "moving_variance": (0.0, 1.2),
            "beta": (0.1, 0.0),
            "moving_mean": (0.1, 0.0),
            "bias": (0.1, 0.0),
        }.get(name, (np.sqrt(2 / max(1, np.prod(variable.shape[:-1]))), 0.0))
        variable.assign((scale * value + offset).astype("float32"))


def train() -> dict[str, np.ndarray]:
    """Trains for a few steps, with a drop of the learning rate between them."""
    data = load("digits")
    choices = {"epochs": 1, "iterations": STEPS, "learning_rate": 0.02, "network": {"shortcut": "B"}}
    recipe = recipe_for(dataset="digits", model="resnet8", **choices).resolve(STEPS, data.defaults())
    model = build(recipe, data).logits_model
    for variable in model.trainable_variables:  # the normalisation layer's are not trainable
        if variable.path.endswith("kernel"):
            rng = np.random.default_rng(list(variable.path.encode()))
            scale = np.sqrt(2 / np.prod(variable.shape[:-1]))
            variable.assign((scale * rng.standard_normal(variable.shape)).astype("float32"))
    batches = Feed(recipe, data, Devices(), Machine()).training_batches(epoch=0, step=0)
    rate = LearningRate(recipe, STEPS, Progress())
    history = model.fit(batches, steps_per_epoch=STEPS, verbose=0, callbacks=[rate])
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
    return {"loss": np.array(history.history["loss"]), **weights}


def main(path: str) -> None:
    logits = {}
    for name, network in NETWORKS.items():
        model = network()
        seed(model)
        images = np.random.default_rng(1).standard_normal((2, *model.input_shape[1:])).astype("float32")
        logits[name] = np.asarray(keras_resnet.features(model, ["logits"]).predict_on_batch(images)["logits"])
    trained = {f"trained/{name}": value for name, value in train().items()}
    np.savez(path, backend=keras.backend.backend(), **logits, **trained)


if __name__ == "__main__":
    main(sys.argv[1])
