"""Torch's devices: one per process, as started by torchrun. Keras has no distribution for Torch."""

from __future__ import annotations

import atexit
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import torch
import torch.distributed as dist
from keras.src.backend.torch.core import get_device

from .devices import Devices, launcher_environment, seed_of_device, torchrun_processes

PATIENCE = datetime.timedelta(days=1)  # that processes wait, such as while the chief downloads a data set
BUCKET = 64 * 2**20  # bytes that are sent at once, at most


def accelerators() -> list[str]:
    """Returns the names of this machine's accelerators; none if Keras is set to use the processor."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if _on_cuda() else []


def _on_cuda() -> bool:
    """Returns whether Keras's current device is a GPU."""
    return get_device().startswith("cuda")


def devices(count: int | None, _: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    if count not in (None, 1):
        raise ValueError(
            f"Torch trains on one device per process. Received: {count} devices. "
            f"Start one process for each: torchrun --nproc-per-node {count} --no-python keras-resnet train ..."
        )
    if _on_cuda():  # shapes hardly change during training, so cuDNN's search for the fastest kernels pays off
        torch.backends.cudnn.benchmark = True
    return Processes() if torchrun_processes() > 1 else Devices()


class Processes(Devices):
    """Several processes, each with one device, as named by the environment variables that torchrun sets.

    Raises:
        ValueError: the other processes cannot be reached.
    """

    def __init__(self) -> None:
        if not dist.is_initialized():
            _join()
        processes = dist.get_world_size()
        super().__init__(processes, dist.get_rank(), processes)
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        """Copies the chief's model to every process, and makes gradients, batch norm and metrics those of all.

        Only random seeds differ between processes, since each draws for its own images.
        """
        for variable in (*training_model.variables, *logits_model.optimizer.variables):
            tensor = variable.value.detach()
            sent = tensor.contiguous()  # NCCL refuses kernels in another layout
            dist.broadcast(sent, src=0)
            tensor.copy_(sent)
        for variable in training_model.non_trainable_variables:
            if "seed_generator" in variable.path and not self.chief:
                variable.assign(seed_of_device(variable.value.tolist(), self.process))
        logits_model.optimizer.apply = _with_average_gradients(logits_model.optimizer.apply)
        for model in dict.fromkeys((logits_model, training_model)):
            model.get_metrics_result = _with_all_counts(model, model.get_metrics_result)
        for layer in logits_model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.fused, layer._moments = False, _of_all_processes(layer._moments)

    def gather(self, text: str) -> list[str]:
        texts: list[Any] = [None] * self.processes
        dist.all_gather_object(texts, text, group=self._group)
        return texts

    def gather_metrics(self, local: list[float]) -> list[list[float]]:
        return [json.loads(text) for text in self.gather(json.dumps(local))]

    def local_metrics(self, parts: list[list[float]]) -> list[float]:
        if len(parts) == self.processes:
            return parts[self.process]
        totals = super().local_metrics(parts)
        return totals if self.chief else [0.0] * len(totals)


def _join() -> None:
    """Connects this process to the others.

    Raises:
        ValueError: the machine has no GPU for this process, or the other processes cannot be reached.
    """
    on_cuda, local = _on_cuda(), int(launcher_environment().get("LOCAL_RANK", 0))
    if on_cuda and local >= (available := torch.cuda.device_count()):
        raise ValueError(
            f"torchrun must start one process per GPU: this machine has {available}. Received: LOCAL_RANK={local}"
        )
    if on_cuda:
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"Torch could not join the other processes: {error} Start them by torchrun, which sets what Torch needs."
        ) from error
    atexit.register(dist.destroy_process_group)


def _of_all_processes(moments: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Wraps a batch norm's `_moments` to return those of all processes' images.

    Keras's `synchronized=True` is not implemented on Torch.
    """

    def moments_of_all(inputs: Any, mask: Any) -> tuple[Any, Any]:
        local = torch.stack(moments(inputs, mask))
        if local.is_meta:  # Keras is inferring shapes: there are no values
            return local[0], local[1]
        means, variances = Gather.apply(local).unbind(1)
        return means.mean(0), variances.mean(0) + means.var(0, correction=0)

    return moments_of_all


class Gather(torch.autograd.Function):
    """Gathers a tensor of every process, (processes, ...); its gradient is of the losses of all processes."""

    @staticmethod
    def forward(ctx: Any, local: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


def _with_average_gradients(apply: Callable[..., None]) -> Callable[..., None]:
    """Wraps an optimizer's `apply` to average gradients over processes, whose parts of a batch are equally large."""

    def apply_average(grads: Sequence[Any], trainable_variables: Any = None) -> None:
        present = [grad for grad in grads if grad is not None]
        sums = iter(_sums_over_processes(present))
        apply([None if grad is None else next(sums).div_(dist.get_world_size()) for grad in grads], trainable_variables)

    return apply_average


def _with_all_counts(model: Any, result: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Wraps a model's `get_metrics_result` to use the sums and counts of all processes; each retains its own.

    Keras calls it after every step. All processes must agree on the end of the warm-up and on stopping at a loss that
    is not finite, which depend on its result.
    """

    def result_of_all() -> dict[str, Any]:
        variables = model.metrics_variables
        local = [variable.value.detach().clone() for variable in variables]
        if any(count.is_meta for count in local):  # Keras is inferring shapes: there are no values
            return result()
        for variable, total in zip(variables, _sums_over_processes(local), strict=True):
            variable.assign(total)
        metrics = result()
        for variable, count in zip(variables, local, strict=True):
            variable.assign(count)
        return metrics

    return result_of_all


def _sums_over_processes(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the sum of each tensor over all processes; tensors are sent in few large buckets."""
    sums: list[torch.Tensor] = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in bucket])
        sums += [part.view(tensor.shape) for part, tensor in zip(parts, bucket, strict=True)]
    return sums


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yields runs of consecutive tensors of the same dtype, of up to `BUCKET` bytes."""
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or size + tensor.nbytes > BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket
