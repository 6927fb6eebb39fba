"""The operations that differ between backends; no other part of the package distinguishes them.

An operation of a network or an optimizer that returns None or False has done nothing, and the caller has to use
Keras's own: it is as good on this backend, or this backend has no better one for the arguments.

Importing this module imports no backend.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..extras import install
from ..host import cores, gpus
from .devices import Devices
from .selection import BACKENDS, environment, select_backend, silenced  # noqa: F401
from .traces import Span

if TYPE_CHECKING:
    import keras
    import numpy as np


def device(count: int | None = None) -> str:
    """Describes this machine's accelerators, or its processor if it has none: "2 x NVIDIA H200".

    Args:
        count: the number of accelerators in use, over all processes; None for all of this machine's.
    """
    if names := _engine().accelerators():
        return f"{count or len(names)} x {names[0]}"
    return f"CPU ({cores()} {'core' if cores() == 1 else 'cores'}, {platform.machine()})"


def unused_gpu_hint() -> str:
    """Returns a sentence on how to use this machine's GPUs; "" if the backend uses them or there are none."""
    import keras

    name = keras.backend.backend()
    if _engine().accelerators() or not shutil.which("nvidia-smi") or not gpus():
        return ""
    if name == "torch":
        return "This machine has a GPU that Torch does not use: torch.cuda.is_available() must be True."
    return f"This machine has a GPU that {name} does not use. To use it: {install(f'{name}-cuda')}"


def devices(count: int | None = None, cores_as_devices: bool = False) -> Devices:
    """Returns the devices to train on: one or several, in this process alone or in all that a launcher has started.

    Args:
        count: the number of devices of this process; None for all accelerators that it can see, or for one device
            where there are none.
        cores_as_devices: whether every core of a processor may become a device, if `count` is None and there is no
            accelerator. This pays for convolutions of few channels, which a backend may compute on a single core of
            each device.

    Raises:
        ValueError: fewer than `count` devices are available, or the backend does not support the launcher; the message
            names a backend that does.
    """
    global _chief
    chosen = _engine().devices(count, cores_as_devices)
    _chief = chosen.chief
    return chosen


def chief() -> bool:
    """Returns whether this process is the one of its run that writes files and reports progress and results.

    True for a process that trains alone.
    """
    return _chief


_chief = True


def gradient_shares() -> int:
    """Returns the number of gradients that are summed after the optimizer's `apply`, each of them a device's share."""
    return _engine().gradient_shares()


def gradient(function: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., list[np.ndarray]]:
    """Returns a function that computes the gradient of another.

    Args:
        function: maps a list of arrays, and optionally further arrays, to a scalar. It consists of `keras.ops` and of
            Keras layers in inference mode.
        variables: the Keras variables that `function` reads. Their values may change between calls.

    Returns:
        A function of the same arguments that returns the gradients with respect to the arrays of the list.
    """
    import keras

    compiled = _engine().gradient(function, variables)

    def run(arrays: Sequence[Any], *others: Any) -> list[np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
        gradients = compiled(tensors, *(keras.ops.convert_to_tensor(other) for other in others))
        return [keras.ops.convert_to_numpy(gradient) for gradient in gradients]

    return run


def normal(seed: int, shape: Sequence[int], deviation: float) -> Any | None:
    """Draws what `keras.random.normal` draws with mean 0, in float32; None where Keras's own is as good."""
    return _engine().normal(seed, shape, deviation)


def batch_norm(layer: keras.layers.BatchNormalization, x: Any, axis: int, use_batch_statistics: bool) -> Any | None:
    """Computes a batch normalisation in one kernel.

    Args:
        layer: the layer.
        x: its input.
        axis: the channel axis of `x`, which may differ from the layer's.
        use_batch_statistics: whether to normalise by the statistics of the batch, and to move the layer's moving
            averages towards them; otherwise, the moving averages normalise.

    Returns:
        A tensor in the dtype of `x`; None, with nothing done, if the backend has no such kernel for these arguments.
    """
    return _engine().batch_norm(layer, x, axis, use_batch_statistics)


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """Convolves images with a kernel as a layer does, without adding its bias; None where Keras's own is as good."""
    return _engine().convolution(layer, x, kernel)


def max_pool(layer: keras.layers.MaxPooling2D, x: Any) -> Any | None:
    """Computes a layer's output for images; None where Keras's own is as good."""
    return _engine().max_pool(layer, x)


def relu(x: Any) -> Any | None:
    """Computes what `keras.ops.relu` does; None where that is as good."""
    return _engine().relu(x)


def add(x: Any, y: Any) -> Any | None:
    """Computes what `keras.ops.add` does; None where that is as good."""
    return _engine().add(x, y)


def set_kernel_layout(kernel: Any) -> None:
    """Gives a convolution's kernel, a variable, the memory layout that `convolution` reads it in."""
    _engine().set_kernel_layout(kernel)


def eager_layers() -> ModuleType | None:
    """Returns the module of layers for `keras_resnet.models.eager` if the backend runs layers eagerly; otherwise None.

    The module has:
    - `CALLS`: for each class of Keras layer, a function that takes a layer and returns its call, or None if Keras has
      to compute the layer. A call takes `training`, then `overwritable`, which says of each input whether it may be
      overwritten, then the inputs; it returns the layer's output, or None if Keras has to compute it for these inputs.
    - `call_scope`: the context manager in which a model is called.
    - `to_keras`: converts an output of these calls to a tensor in Keras's layout.
    - `dtype`: converts Keras's name of a dtype to the backend's dtype.
    - `can_defer_padding`, `defer_padding`: leave the work of a padding layer to the layer that follows it: whether that
      is possible, and the padding layer's call if it is.
    - `is_compiling`: whether the backend compiles the call, in which case Keras has to call all layers.
    - `with_hooks`: selects the layers with hooks, which Keras has to call.
    - `may_follow`, `fused`: whether a layer may be computed as one with the layers before it, and the call of such
      layers, which takes the images and then, if they end in a sum, its other summand.
    - `FoldedWeights`: what these calls keep from one call of a model to the next; there is one for each model.
    - `can_fuse`: whether a call of a model may use them.
    """
    return _engine().eager_layers()


def start_trace(folder: Path) -> None:
    """Starts the backend's profiler; the backend's own viewers open its trace.

    Args:
        folder: where `stop_trace` writes the trace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _engine().start_trace(folder)


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """Stops the profiler that `start_trace` started, and writes its trace.

    Returns:
        The spans in which a step waited for its images, and those in which the device computed, in seconds on the same
        clock. Spans may overlap.
    """
    return _engine().stop_trace(folder)


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """Yields batches, and marks in the trace the time spent waiting for each."""
    return _engine().mark_waiting(batches)


def viewer(folder: Path) -> str:
    """Describes how to open the trace in a folder."""
    return _engine().viewer(folder)


def match_layout(variable: Any, other: Any) -> None:
    """Gives an optimizer's variable of zeros the memory layout of another variable of the same shape."""
    _engine().match_layout(variable, other)


def add_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """Returns gradients plus `decay` times their variables. The gradients passed in may be overwritten."""
    return _engine().add_decay(gradients, variables, decay)


def update_arguments(gradients: list[Any], variables: list[Any], rate: Any) -> tuple[list[Any], list[Any], Any]:
    """Returns equivalent arguments for Keras's update of all variables, with which it does not wait for the device."""
    return _engine().update_arguments(gradients, variables, rate)


def momentum_step(variable: Any, velocity: Any, gradient: Any, rate: Any, momentum: float, nesterov: bool) -> bool:
    """Updates a variable and its velocity as `keras.optimizers.SGD` does, in one kernel.

    Returns:
        True if it has updated them; False, with nothing done, if the backend has no such kernel.
    """
    return _engine().momentum_step(variable, velocity, gradient, rate, momentum, nesterov)


def move_averages(averages: Sequence[Any], variables: Sequence[Any], momentum: Any) -> bool:
    """Updates all averages of variables at once: average = momentum * average + (1 - momentum) * variable.

    Args:
        averages: the optimizer's variables that hold the averages.
        variables: the averaged variables, in the same order.
        momentum: a scalar tensor in float32.

    Returns:
        True if it has updated them; False, with nothing done, where Keras's own is as good.
    """
    return _engine().move_averages(averages, variables, momentum)


def multi_step_function(model: keras.Model, count: int) -> Callable[..., Any]:
    """Returns a train function of several steps, to replace Keras's of one step, with less overhead between them.

    Args:
        model: a compiled model.
        count: the number of steps, each on its own batch.
    """
    return _engine().multi_step_function(model, count)


def can_export_graphs() -> bool:
    """Returns whether a network can be exported as a plain TensorFlow graph in this process."""
    return _engine().can_export_graphs()


def jit_compile() -> bool | str:
    """Returns the `jit_compile` argument for `keras.Model.compile`."""
    return _engine().jit_compile()


@functools.cache
def _engine() -> ModuleType:
    """Returns the module in this package of the backend that Keras runs on."""
    import keras

    return importlib.import_module(f".{keras.backend.backend()}", __name__)


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on: of this package, Keras, the backend, NumPy and Python."""
    import keras

    from ..version import __version__

    backend = keras.backend.backend()
    return {
        "keras_resnet": __version__,
        "keras": keras.__version__,
        backend: _engine().version(),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
    }
