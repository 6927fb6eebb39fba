"""Training steps of this package's networks and of others', for `training.py`, `compile_time.py` and `memory.py`."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import keras_resnet
import roofline
from jax_peers import flax_step
from networks import build
from torch_peers import network, training_device
from workers import WARM_UP, Setting, start_as_command


class Step(NamedTuple):
    """Training step of a network.

    Attributes:
        take: takes one step on normalised images (batch, size, size, 3) and labels (batch,), both already placed.
        place: moves an array to where `take` needs it.
    """

    take: Callable[[Any, Any], Any]
    place: Callable[[np.ndarray], Any]


RATE, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4
AT_ONCE = 10  # steps
# Arguments of Keras's `_get_jax_state`.
STATE = "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables"


def timed(load: Callable[[Setting], Step], setting: Setting) -> Callable[[], Any]:
    """Returns the call that is timed: a step on a fixed batch."""
    step = load(setting)
    images, labels = map(step.place, random_batch(setting))
    return lambda: step.take(images, labels)


def random_batch(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Random normalised images (batch, size, size, 3) and labels (batch,), all of class 0."""
    shape = setting["size"], setting["image_size"], setting["image_size"], 3
    return np.random.default_rng(0).standard_normal(shape, "float32"), np.zeros(setting["size"], "int32")


def compiled(model: Any, optimizer: Any = None) -> Step:
    """Step of a Keras model that returns logits, by Keras's SGD unless another optimizer is given."""
    import keras

    model.compile(optimizer or keras.optimizers.SGD(RATE, momentum=MOMENTUM, weight_decay=DECAY), loss_of_logits())
    return Step(model.train_on_batch, keras.ops.convert_to_tensor)


def loss_of_logits() -> Any:
    """Keras's cross-entropy between integer labels and logits."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def ours(setting: Setting, as_built: bool = True, **split: bool) -> Step:
    """Step of this package's network.

    Args:
        setting: names the network, the image size and the precision.
        as_built: with this package's optimizer and fast layers; False for Keras's own layers and optimizer.
        **split: options of `split_into_units`; without any, the network is not split.
    """
    start_as_command()
    import keras

    from keras_resnet import backend
    from keras_resnet.training.optimizer import SGD
    from keras_resnet.training.unit_sequence import split_into_units

    backend.devices(1)  # on a GPU, Torch searches for the fastest kernels from then on
    case = setting["model"], setting["image_size"], setting["precision"]
    if not as_built:
        return compiled(keras.Model.from_config(network_config(*case)))
    model = build(*case)
    optimizer = SGD(RATE, momentum=MOMENTUM, coupled_decay=DECAY)
    return compiled(split_into_units(model, **split) if split else model, optimizer)


@functools.cache
def network_config(model: str, image_size: int, precision: str) -> dict[str, Any]:
    """Config of this package's network, from which Keras builds it with its own layers."""
    return build(model, image_size, precision).get_config()


def on_each_core(setting: Setting) -> Step:
    """Step of this package's network on JAX with each core as a device, as by `--devices`.

    Each batch is distributed over the cores within the step.
    """
    start_as_command()
    from keras_resnet import backend
    from keras_resnet.host import cores

    try:
        devices = backend.devices(cores())
    except ValueError as error:
        if backend.device().startswith("CPU"):
            raise
        raise LookupError(f"JAX computes on accelerators, not on cores: {error}") from error
    with devices.scope():
        step = ours(setting)

    def take(images: Any, labels: Any) -> Any:
        with devices.scope():
            return step.take(images, labels)

    return Step(take, step.place)


def multi_step_function(setting: Setting) -> Callable[[], float]:
    """Returns a call that measures the seconds per step of several steps without waiting in between, as in `fit`.

    For JAX and Torch. In contrast, `train_on_batch` waits for the loss after each step, and on JAX passes all of the
    network's variables in and out of each.
    """
    start_as_command()
    import keras

    from keras_resnet import backend
    from keras_resnet.training.optimizer import SGD

    backend.devices(1)
    model = build(setting["model"], setting["image_size"], setting["precision"])
    model.compile(SGD(RATE, momentum=MOMENTUM, coupled_decay=DECAY), loss_of_logits())
    batch = tuple(map(keras.ops.convert_to_tensor, random_batch(setting)))
    model.train_on_batch(*batch)  # creates the optimizer's and the metrics' variables
    take = backend.multi_step_function(model, AT_ONCE)
    state = [model._get_jax_state(**dict.fromkeys(STATE, True))] if keras.backend.backend() == "jax" else []

    def seconds() -> float:
        start = time.perf_counter()
        if state:
            logs, state[0] = take(state[0], itertools.repeat(batch))
        else:
            logs = take([batch] * AT_ONCE)
        float(logs["loss"])  # waits for the device
        return (time.perf_counter() - start) / AT_ONCE

    for _ in range(WARM_UP):
        seconds()
    return seconds


def keras_applications(setting: Setting) -> Step:
    """Step of keras.applications' network, which exists with 50, 101 and 152 layers."""
    import keras

    name, size = setting["model"].replace("resnet", "ResNet"), setting["image_size"]
    if not hasattr(keras.applications, name):
        raise LookupError(f"keras.applications has no {name}")
    keras.config.set_dtype_policy(setting["precision"])
    return compiled(
        getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    )


def keras_hub(setting: Setting) -> Step:
    """Step of KerasHub's network, which exists for every ImageNet depth."""
    try:
        import keras_hub
    except ImportError as error:
        raise LookupError(f"KerasHub: {error}") from error
    from keras_resnet.models.catalog import find

    spec, size = find(setting["model"]).respec(), setting["image_size"]
    if (spec.stem, spec.order, spec.shortcut) != ("imagenet", "original", "B"):
        raise LookupError(f"KerasHub has no {setting['model']}")
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=list(spec.stage_units),
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block" if spec.unit == "basic" else "bottleneck_block",
        image_shape=(size, size, 3),
        dtype=setting["precision"],
    )
    return compiled(keras_hub.models.ResNetImageClassifier(backbone, num_classes=1000, dtype=setting["precision"]))


def flax(setting: Setting) -> Step:
    """Step of the network of flax's ImageNet example, in a plain JAX loop."""
    half = setting["precision"] == "mixed_bfloat16"
    take = flax_step(setting["model"], setting["flax"], setting["image_size"], half, RATE, MOMENTUM, DECAY)
    import jax

    return Step(take, jax.device_put)


def pytorch(
    setting: Setting, compile: bool, make_network: Callable[..., Any] = network, keep_memory: bool = False
) -> Step:
    """Step of a plain PyTorch loop, channels last, and under autocast if the precision is mixed_bfloat16.

    Args:
        setting: names the network and the precision.
        compile: compile the network by `torch.compile`.
        make_network: makes the network from its name and the `--peers` file.
        keep_memory: keep freed memory in the process, as this package's command does.
    """
    import torch

    if keep_memory:
        keras_resnet.keep_freed_memory()
    device = training_device()
    model = make_network(setting["model"], setting["peers"]).train().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    call = torch.compile(model) if compile else model
    half = setting["precision"] == "mixed_bfloat16"

    def take(images: Any, labels: Any) -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(call(images.permute(0, 3, 1, 2)), labels.long())
        loss.backward()
        optimizer.step()
        return loss.item()

    return Step(take, partial(torch.as_tensor, device=device))


def convolutions(setting: Setting) -> Step:
    """Step of the convolutions of this package's network alone, one by one, forward and backward, by PyTorch."""
    import torch

    device = training_device()
    dtype = torch.bfloat16 if setting["precision"] == "mixed_bfloat16" else torch.float32
    batch = setting["size"]

    def random_tensor(*shape: int, requires_grad: bool) -> torch.Tensor:
        tensor = torch.randn(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)
        return tensor.requires_grad_(requires_grad)

    work = []  # of each convolution its input, kernel, strides, padding and the gradient of its output
    for each in roofline.convolutions(setting["model"], setting["image_size"]):
        (*size, channels), (*kernel_size, _, filters), (*output_size, _) = each.input, each.kernel, each.output
        inputs = random_tensor(batch, channels, *size, requires_grad=not each.reads_image)
        kernel = random_tensor(filters, channels, *kernel_size, requires_grad=True)
        output_gradient = random_tensor(batch, filters, *output_size, requires_grad=False)
        work.append((inputs, kernel, each.strides, each.padding, output_gradient))

    def take(*_: Any) -> Any:
        for inputs, kernel, strides, padding, output_gradient in work:
            outputs = torch.nn.functional.conv2d(inputs, kernel, None, strides, padding)
            needed = [each for each in (inputs, kernel) if each.requires_grad]
            gradients = torch.autograd.grad(outputs, needed, output_gradient)
        return gradients[0].flatten()[0].item()  # waits for the device

    return Step(take, torch.as_tensor)


def convolutions_at_best(setting: Setting) -> Callable[[], float]:
    """Returns a call that computes the minimum seconds of the convolutions, at the machine's peaks at that time."""
    layers = roofline.convolutions(setting["model"], setting["image_size"])
    precision = setting["precision"]
    width = roofline.BYTES[precision]
    return lambda: roofline.minimum_seconds(layers, setting["size"], width, roofline.measured_peaks(precision))
