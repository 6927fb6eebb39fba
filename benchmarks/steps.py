"""Training steps of this package's networks and of others', for `training.py`, `compile_time.py` and `memory.py`."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import harness
import keras_resnet
import roofline
from harness import Setting
from jax_peers import flax_step
from networks import built
from torch_peers import device_of_torch, network


class Step(NamedTuple):
    """A network's training step.

    Attributes:
        take: from normalised images (batch, size, size, 3) and labels (batch,) that lie where they are needed.
        place: has an array lie there.
    """

    take: Callable[[Any, Any], Any]
    place: Callable[[np.ndarray], Any]


RATE, MOMENTUM, DECAY = 1e-3, 0.9, 1e-4
AT_ONCE = 10  # steps
STATE = "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables"  # of Keras on JAX


def timed(load: Callable[[Setting], Step], setting: Setting) -> Callable[[], Any]:
    """What the harness times: steps on a batch."""
    step = load(setting)
    images, labels = map(step.place, batch(setting))
    return lambda: step.take(images, labels)


def batch(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images (batch, size, size, 3) and labels (batch,)."""
    shape = setting["size"], setting["image_size"], setting["image_size"], 3
    return np.random.default_rng(0).standard_normal(shape, "float32"), np.zeros(setting["size"], "int32")


def compiled(model: Any, optimizer: Any = None) -> Step:
    """A network of Keras, up to its logits, with Keras's SGD unless there is another."""
    import keras

    model.compile(optimizer or keras.optimizers.SGD(RATE, momentum=MOMENTUM, weight_decay=DECAY), loss_of_logits())
    return Step(model.train_on_batch, keras.ops.convert_to_tensor)


def loss_of_logits() -> Any:
    """Keras's cross-entropy of labels and logits."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def ours(setting: Setting, as_built: bool = True, **ways: bool) -> Step:
    """This package's network and optimizer, as they are, or of Keras's layers and with Keras's optimizer.

    Args:
        setting: the network, and what it is to be like.
        as_built: not of Keras's layers.
        **ways: what `split_into_units` is told, if anything.
    """
    harness.as_the_command()
    import keras

    from keras_resnet.training.optimizer import SGD
    from keras_resnet.training.unit_sequence import split_into_units

    case = setting["model"], setting["image_size"], setting["precision"]
    if not as_built:
        return compiled(keras.Model.from_config(described(*case)))
    model = built(*case)
    optimizer = SGD(RATE, momentum=MOMENTUM, coupled_decay=DECAY)
    return compiled(split_into_units(model, **ways) if ways else model, optimizer)


@functools.cache
def described(model: str, image_size: int, precision: str) -> dict[str, Any]:
    """The config of this package's network, which Keras makes its own layers of."""
    return built(model, image_size, precision).get_config()


def on_each_core(setting: Setting) -> Step:
    """This package's network, on JAX, a part of each batch on each core, dealt out at each step, as by `--devices`."""
    harness.as_the_command()
    from keras_resnet import backend
    from keras_resnet.host import cores

    try:
        devices = backend.devices(cores())
    except ValueError as error:
        if backend.device().startswith("CPU"):
            raise
        raise LookupError(f"it computes on accelerators, not on cores: {error}") from error
    with devices.scope():
        step = ours(setting)

    def on_all(images: Any, labels: Any) -> Any:
        with devices.scope():
            return step.take(images, labels)

    return Step(on_all, step.place)


def multi_step_function(setting: Setting) -> Callable[[], float]:
    """Seconds a step of this package's network where nobody waits between steps, as in `fit`: on JAX and Torch.

    `train_on_batch` takes and gives back all of a network's variables at each step on JAX, and waits for the loss.
    """
    harness.as_the_command()
    import keras

    from keras_resnet import backend
    from keras_resnet.training.optimizer import SGD

    model = built(setting["model"], setting["image_size"], setting["precision"])
    model.compile(SGD(RATE, momentum=MOMENTUM, coupled_decay=DECAY), loss_of_logits())
    one = tuple(map(keras.ops.convert_to_tensor, batch(setting)))
    model.train_on_batch(*one)  # makes what steps need
    take = backend.multi_step_function(model, AT_ONCE)
    state = [model._get_jax_state(**dict.fromkeys(STATE, True))] if keras.backend.backend() == "jax" else []

    def seconds() -> float:
        begun = time.perf_counter()
        if state:
            logs, state[0] = take(state[0], itertools.repeat(one))
        else:
            logs = take([one] * AT_ONCE)
        float(logs["loss"])  # waits for the device
        return (time.perf_counter() - begun) / AT_ONCE

    for _ in range(harness.WARM_UP):
        seconds()
    return seconds


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


def keras_hub(setting: Setting) -> Step:
    """KerasHub's network, of its own layers; there is one of any ImageNet depth."""
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
    """The network of flax's ImageNet example, with a loop of its own."""
    half = setting["precision"] == "mixed_bfloat16"
    take = flax_step(setting["model"], setting["flax"], setting["image_size"], half, RATE, MOMENTUM, DECAY)
    import jax

    return Step(take, jax.device_put)


def pytorch(setting: Setting, compile: bool, of: Callable[..., Any] = network, kept: bool = False) -> Step:
    """A plain loop of PyTorch, channels last, under autocast where half precision is asked for.

    Args:
        setting: the network, and what it is to be like.
        compile: whether it is compiled.
        of: makes it.
        kept: whether the memory that it frees is kept, as this package's command does.
    """
    import torch

    if kept:
        keras_resnet.keep_freed_memory()
    device = device_of_torch()
    model = of(setting["model"], setting["peers"]).train().to(device, memory_format=torch.channels_last)
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
    """Those of this package's network, one by one, forward and backward, and nothing else."""
    import torch

    device = device_of_torch()
    dtype = torch.bfloat16 if setting["precision"] == "mixed_bfloat16" else torch.float32
    batch = setting["size"]

    def drawn(*shape: int, learned: bool) -> torch.Tensor:
        tensor = torch.randn(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)
        return tensor.requires_grad_(learned)

    work = []  # images, kernel, strides, padding, and the gradient above, of each
    for each in roofline.convolutions(setting["model"], setting["image_size"]):
        (*side, channels), (*window, _, filters), (*place, _) = each.images, each.kernel, each.given
        images = drawn(batch, channels, *side, learned=not each.of_the_image)
        kernel = drawn(filters, channels, *window, learned=True)
        above = drawn(batch, filters, *place, learned=False)
        work.append((images, kernel, each.strides, each.padding, above))

    def take(*_: Any) -> Any:
        for images, kernel, strides, around, above in work:
            given = torch.nn.functional.conv2d(images, kernel, None, strides, around)
            needed = [each for each in (images, kernel) if each.requires_grad]
            last = torch.autograd.grad(given, needed, above)
        return last[0].flatten()[0].item()  # waits for the device

    return Step(take, torch.as_tensor)


def convolutions_at_best(setting: Setting) -> Callable[[], float]:
    """The least seconds for them, at the peaks that the machine reaches when asked."""
    of = roofline.convolutions(setting["model"], setting["image_size"])
    precision = setting["precision"]
    width = roofline.BYTES[precision]
    return lambda: roofline.least_seconds(of, setting["size"], width, roofline.measured(precision))
