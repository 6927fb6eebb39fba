"""How long a training step takes: of this package's networks on each backend, of Keras's own, and of PyTorch's.

    python benchmarks/training.py --models resnet50 --image-size 96 --batches 16 [--precision mixed_bfloat16]
    python benchmarks/training.py --models resnet20,resnet110 --image-size 32 --batches 128

A step of SGD with momentum on images that lie in memory, through `train_on_batch` or a plain loop of PyTorch. "Keras's
layers" are the same network without what `keras_resnet/models/running.py` does. Times are also told as shares of those
of torchvision's network, eager and channels last; of CIFAR networks, of the same network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import harness
from harness import Contender, Setting
from torch_peers import network

Step = Callable[[np.ndarray, np.ndarray], Any]  # from normalised images (batch, size, size, 3) and labels
BASE = "PyTorch, eager"
RATE, MOMENTUM = 1e-3, 0.9


def training(load: Callable[[Setting], Step], setting: Setting) -> Callable[[int], Any]:
    """What the harness times: steps on batches of its sizes."""
    step = load(setting)
    shape = max(setting["sizes"]), setting["image_size"], setting["image_size"], 3
    images = np.random.default_rng(0).standard_normal(shape, "float32")
    labels = np.zeros(len(images), "int32")
    return lambda batch: step(images[:batch], labels[:batch])


def compiled(model: Any) -> Step:
    """A network of Keras, up to its logits."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), loss)
    return model.train_on_batch


def ours(setting: Setting, as_built: bool = True) -> Step:
    """This package's network, as it is built, or of Keras's layers."""
    import keras

    from keras_resnet.models.catalog import find

    size = setting["image_size"]
    model = find(setting["model"])(input_shape=(size, size, 3), classifier_activation=None, dtype=setting["precision"])
    return compiled(model if as_built else keras.models.clone_model(model))


def keras_applications(setting: Setting) -> Step:
    """keras.applications' network; there is one of 50, 101 and 152 layers."""
    import keras

    name, size = setting["model"].replace("resnet", "ResNet"), setting["image_size"]
    if not hasattr(keras.applications, name):
        raise LookupError(f"keras.applications has no {name}")
    keras.config.set_dtype_policy(setting["precision"])
    return compiled(
        getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    )


def pytorch(setting: Setting, compile: bool) -> Step:
    """A plain loop of PyTorch, channels last, under autocast where half precision is asked for."""
    import torch

    model = network(setting["model"], setting["peers"]).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)
    call = torch.compile(model) if compile else model
    half = setting["precision"] == "mixed_bfloat16"

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = call(torch.from_numpy(images).permute(0, 3, 1, 2))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).long())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


BACKENDS = ("tensorflow", "jax", "torch")
CONTENDERS = {
    **{f"keras_resnet, {name}": Contender(partial(training, ours), name) for name in BACKENDS},
    **{
        f"Keras's layers, {name}": Contender(partial(training, partial(ours, as_built=False)), name)
        for name in BACKENDS
    },
    **{f"keras.applications, {name}": Contender(partial(training, keras_applications), name) for name in BACKENDS},
    BASE: Contender(partial(training, partial(pytorch, compile=False))),
    "PyTorch, compiled": Contender(partial(training, partial(pytorch, compile=True))),
}


def main() -> None:
    parser = harness.options(__doc__, CONTENDERS)
    parser.add_argument("--models", default="resnet50", help="with commas")
    parser.add_argument("--batches", default="16", help="with commas")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    arguments = harness.parse(parser, CONTENDERS)
    results = []
    for model in arguments.models.split(","):
        case = {"model": model, "image_size": arguments.image_size, "precision": arguments.precision}
        results += harness.compare(CONTENDERS, arguments, case, harness.numbers(arguments.batches), BASE)
    harness.write(arguments, results)


if __name__ == "__main__":
    main()
