"""Torch's devices: a process a device, as torchrun starts them. Keras has no distribution for Torch: it is here."""

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

from .devices import Devices, launcher_environment, torchrun_processes

PATIENCE = datetime.timedelta(days=1)  # while the chief downloads a data set
BUCKET = 64 * 2**20  # bytes that are sent at once


def accelerators() -> list[str]:
    """The names of this machine's accelerators; none where Keras has been told to use the processor."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if _on_cuda() else []


def _on_cuda() -> bool:
    """Whether Keras works there."""
    return get_device().startswith("cuda")


def devices(count: int | None, _: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    if count not in (None, 1):
        raise ValueError(
            f"Torch trains on one device a process. Received: {count} devices. "
            f"Start as many processes: torchrun --nproc-per-node {count} --no-python keras-resnet train ..."
        )
    if _on_cuda():  # the shapes of a training hardly change, for which cuDNN looks for kernels once
        torch.backends.cudnn.benchmark = True
    return Processes() if torchrun_processes() > 1 else Devices()


class Processes(Devices):
    """Several processes, each with one device, as the variables that torchrun sets name them.

    Raises:
        ValueError: they cannot be reached.
    """

    def __init__(self) -> None:
        if not dist.is_initialized():
            _join()
        processes = dist.get_world_size()
        super().__init__(processes, dist.get_rank(), processes)
        self._speech = dist.new_group(backend="gloo", timeout=PATIENCE)

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        """Has a model start alike in every process, and gradients, batch norm and metrics be those of all of them.

        What is drawn at random alone differs: each process draws for images of its own.
        """
        for variable in (*training_model.variables, *logits_model.optimizer.variables):
            own = variable.value.detach()
            sent = own.contiguous()  # NCCL takes no kernel that is laid out otherwise
            dist.broadcast(sent, src=0)
            own.copy_(sent)
        for variable in training_model.non_trainable_variables:
            if "seed_generator" in variable.path and not self.chief:
                seed, drawn = variable.value.tolist()  # of which the second counts, and the sum seeds
                variable.assign([(seed + self.process * 0x9E3779B9) % 2**31, drawn])
        logits_model.optimizer.apply = _with_average_gradients(logits_model.optimizer.apply)
        for model in dict.fromkeys((logits_model, training_model)):
            model.get_metrics_result = _with_all_counts(model, model.get_metrics_result)
        for layer in logits_model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.fused, layer._moments = False, _of_all_processes(layer._moments)

    def gather(self, text: str) -> list[str]:
        said: list[Any] = [None] * self.processes
        dist.all_gather_object(said, text, group=self._speech)
        return said

    def gather_metrics(self, own: list[float]) -> list[list[float]]:
        return [json.loads(said) for said in self.gather(json.dumps(own))]

    def local_metrics(self, parts: list[list[float]]) -> list[float]:
        if len(parts) == self.processes:
            return parts[self.process]
        whole = super().local_metrics(parts)
        return whole if self.chief else [0.0] * len(whole)


def _join() -> None:
    on_cuda, local = _on_cuda(), int(launcher_environment().get("LOCAL_RANK", 0))
    if on_cuda and local >= (there := torch.cuda.device_count()):
        raise ValueError(
            f"torchrun started a process number {local} here, where there are {there} GPUs: one a process."
        )
    if on_cuda:
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"Torch could not join the other processes: {error} torchrun sets what it needs.") from error
    atexit.register(dist.destroy_process_group)


def _of_all_processes(moments: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """A batch norm's statistics, of all processes' images; `synchronized=True` is not implemented on Torch."""

    def moments_of_all(inputs: Any, mask: Any) -> tuple[Any, Any]:
        own = torch.stack(moments(inputs, mask))
        if own.is_meta:  # no numbers: Keras asks for shapes
            return own[0], own[1]
        means, variances = Gather.apply(own).unbind(1)
        return means.mean(0), variances.mean(0) + means.var(0, correction=0)

    return moments_of_all


class Gather(torch.autograd.Function):
    """Every process's tensor, (processes, ...), through which the loss of each process has a gradient."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


def _with_average_gradients(apply: Callable[..., None]) -> Callable[..., None]:
    """An optimizer's `apply`, of the gradients of the global batch: each process has as large a part of it."""

    def apply_average(grads: Sequence[Any], trainable_variables: Any = None) -> None:
        there = [grad for grad in grads if grad is not None]
        sums = iter(_summed(there))
        apply([None if grad is None else next(sums).div_(dist.get_world_size()) for grad in grads], trainable_variables)

    return apply_average


def _with_all_counts(model: Any, result: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """A model's `get_metrics_result`, of the sums and counts of all processes, which each goes on keeping for itself.

    After every step, since the warm-up's end and the stop at a lost loss must be everyone's.
    """

    def result_of_all() -> dict[str, Any]:
        variables = model.metrics_variables
        own = [variable.value.detach().clone() for variable in variables]
        if any(count.is_meta for count in own):  # no numbers: Keras asks for shapes
            return result()
        for variable, total in zip(variables, _summed(own), strict=True):
            variable.assign(total)
        found = result()
        for variable, count in zip(variables, own, strict=True):
            variable.assign(count)
        return found

    return result_of_all


def _summed(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The sums of each tensor over all processes, sent in few large pieces."""
    sums: list[torch.Tensor] = []
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in bucket])
        sums += [part.view(tensor.shape) for part, tensor in zip(parts, bucket, strict=True)]
    return sums


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one type, up to the size of a bucket."""
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
