"""JAX's devices: `keras.distribution.DataParallel` on those of one process or of several."""

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

TEXT = 1000  # bytes of what a process can say
LEAST = 8  # images that a core is worth
PATIENCE = 60  # seconds that a process which ends waits for the others; if that is by an error, they wait for it


def accelerators() -> list[str]:
    """The names of this machine's accelerators."""
    return [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]


def devices(count: int | None, spread: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    spread = spread and count is None and not launched()
    refuse_torchrun("jax")
    if launched() and not jax.distributed.is_initialized():
        _join()
    elif spread or (count or 1) > 1:
        _take_cores_for_devices()
    everywhere: dict[int, list[Any]] = {}
    for device in jax.devices():
        everywhere.setdefault(device.process_index, []).append(device)
    fewest = min(len(found) for found in everywhere.values())
    on_cpu = jax.devices()[0].platform == "cpu"
    count = fewest if on_cpu and spread else device_count(count, 0 if on_cpu else fewest, fewest)
    if len(everywhere) == count == 1:
        return Devices()
    chosen_ones = [device for process in sorted(everywhere) for device in everywhere[process][:count]]
    return Cores(chosen_ones) if on_cpu and spread else DataParallel(chosen_ones)


def _take_cores_for_devices() -> None:
    """Has each core be a device where there is no other, unless XLA_FLAGS or a network before has settled it."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", cores())


def launched() -> bool:
    """Whether a launcher has started this process as one of several; by the environment alone.

    It is asked for what `jax.distributed.initialize` would find, since that waits for the other processes: Keras's own
    variables, JAX's, a step of Slurm or of Open MPI with several tasks, an indexed job of Kubernetes in whose image
    the `kubernetes` package is, a TPU.
    """
    here = launcher_environment()
    return (
        "JAX_COORDINATOR_ADDRESS" in here
        or int(here.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1)) > 1
        or ({"SLURM_STEP_NODELIST", "SLURM_PROCID"} <= here.keys() and int(here.get("SLURM_NTASKS", 1)) > 1)
        or int(here.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or ("JOB_COMPLETION_INDEX" in here and importlib.util.find_spec("kubernetes") is not None)
        or (importlib.util.find_spec("libtpu") is not None and any(_tpu_chips()))
    )


def _tpu_chips() -> list[Path]:
    return [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]


def _join() -> None:
    """Joins the other processes.

    Raises:
        ValueError: JAX cannot tell who and where they are, or does not reach them.
    """
    here = launcher_environment()
    process = {
        "coordinator_address": here.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "").split(",")[0] or None,
        "num_processes": int(here.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 0)) or None,
        "process_id": int(here["KERAS_DISTRIBUTION_PROCESS_ID"]) if "KERAS_DISTRIBUTION_PROCESS_ID" in here else None,
    }
    try:
        jax.distributed.initialize(**process, shutdown_timeout_seconds=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"JAX could not join the other processes: {error} Its launcher, or KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID must name them."
        ) from error


class DataParallel(Devices):
    """Several devices, of this process or of several.

    Args:
        devices: those of all processes, as many of each, process by process.
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
        """Outside of the distribution: Keras makes variables of its own to save, for which all would have to wait."""
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def gather(self, text: str) -> list[str]:
        said = np.zeros(TEXT, np.uint8)
        encoded = text.encode()[:TEXT]
        said[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        gathered = multihost_utils.process_allgather(said)
        return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in gathered.reshape(-1, TEXT)]


class Cores(DataParallel):
    """The cores of a processor, as many of them as a batch is worth."""

    def for_batch(self, size: int) -> Devices:
        counts = range(min(self.replicas, size // LEAST), 1, -1)
        count = next((count for count in counts if size % count == 0), 1)
        return Cores(self._devices[:count]) if count > 1 else Devices()
