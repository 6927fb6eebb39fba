"""JAX's devices, of one or several processes, by `keras.distribution.DataParallel`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from ..host import cores
from .devices import Devices, device_count, launcher_environment, refuse_torchrun
from .selection import silenced

TEXT = 1000  # bytes of a text that `gather` sends; longer ones are cut
LEAST = 8  # images per core, at least
PATIENCE = 60  # seconds that a process waits for the others when it ends; after an error, the others wait for it


def accelerators() -> list[str]:
    """Returns the names of this machine's accelerators."""
    return [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]


def devices(count: int | None, cores_as_devices: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    cores_as_devices = cores_as_devices and count is None and not launched()
    refuse_torchrun("jax")
    if launched() and not jax.distributed.is_initialized():
        _join()
    elif cores_as_devices or (count or 1) > 1:
        _take_cores_for_devices()
    by_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    fewest = min(map(len, by_process.values()))
    on_cpu = jax.devices()[0].platform == "cpu"
    count = fewest if on_cpu and cores_as_devices else device_count(count, 0 if on_cpu else fewest, fewest)
    if len(by_process) == count == 1:
        return Devices()
    chosen = [device for process in sorted(by_process) for device in by_process[process][:count]]
    return Cores(chosen) if on_cpu and cores_as_devices else DataParallel(chosen)


def _take_cores_for_devices() -> None:
    """Makes each CPU core a device, unless XLA_FLAGS sets their number or JAX has already started in this process."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", cores())


def launched() -> bool:
    """Returns whether a launcher has started this process as one of several, judging by the environment alone.

    `jax.distributed.initialize` would find out, but waits for the other processes. So what it uses is checked here:
    Keras's and JAX's own variables, a Slurm step or Open MPI job of several tasks, an indexed Kubernetes job in an
    image with the `kubernetes` package, and TPUs.
    """
    variables = launcher_environment()
    slurm_step = {"SLURM_STEP_NODELIST", "SLURM_PROCID"} <= variables.keys()
    return (
        "JAX_COORDINATOR_ADDRESS" in variables
        or int(variables.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1)) > 1
        or (slurm_step and int(variables.get("SLURM_NTASKS", 1)) > 1)
        or int(variables.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or ("JOB_COMPLETION_INDEX" in variables and importlib.util.find_spec("kubernetes") is not None)
        or (importlib.util.find_spec("libtpu") is not None and any(_tpu_chips()))
    )


def _tpu_chips() -> list[Path]:
    return [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]


def _join() -> None:
    """Connects this process to the others.

    Raises:
        ValueError: JAX cannot find out their number and addresses, or cannot reach them.
    """
    variables = launcher_environment()
    process_id = variables.get("KERAS_DISTRIBUTION_PROCESS_ID")
    process: dict[str, Any] = {
        "coordinator_address": variables.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "").split(",")[0] or None,
        "num_processes": int(variables.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 0)) or None,
        "process_id": None if process_id is None else int(process_id),
    }
    try:
        jax.distributed.initialize(**process, shutdown_timeout_seconds=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"JAX could not join the other processes: {error} They must be named by a launcher that JAX knows, or by "
            "KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID."
        ) from error


class DataParallel(Devices):
    """Several devices, of one process or of several.

    Args:
        devices: JAX's devices of all processes, process by process, with the same number of each.
    """

    def __init__(self, devices: list[Any]) -> None:
        super().__init__(jax.process_count(), jax.process_index(), len(devices))
        names = [f"{device.platform}:{device.id}" for device in devices]
        self._devices = devices
        self._distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        if self.processes > 1:
            with silenced():
                self.gather("")

    def scope(self) -> AbstractContextManager[Any]:
        return self._distribution.scope()

    @contextlib.contextmanager
    def saving_scope(self, logits_model: Any) -> Iterator[None]:
        """Leaves the distribution: Keras creates variables when it saves, and would wait for all processes in it."""
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def gather(self, text: str) -> list[str]:
        padded = np.zeros(TEXT, np.uint8)
        encoded = text.encode()[:TEXT]
        padded[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        gathered = multihost_utils.process_allgather(padded)
        return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in gathered.reshape(-1, TEXT)]


class Cores(DataParallel):
    """The cores of a processor, limited by `for_batch` to as many as divide a batch and get `LEAST` images each."""

    def for_batch(self, size: int) -> Devices:
        counts = range(min(self.replicas, size // LEAST), 1, -1)
        count = next((count for count in counts if size % count == 0), 1)
        return Cores(self._devices[:count]) if count > 1 else Devices()
