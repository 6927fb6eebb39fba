"""The interface through which a run uses its devices, whichever backend drives them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")

# The environment variables from which a process knows that a launcher has started it as one of several: torchrun's,
# Keras's own, JAX's, those of a Slurm step, of Open MPI, of an indexed Kubernetes job, and TensorFlow's. No other
# variable of a launcher is read.
LAUNCHERS = frozenset(
    {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE"),
        *("KERAS_DISTRIBUTION_JOB_ADDRESSES", "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
        *("JAX_COORDINATOR_ADDRESS", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"),
        *("JOB_COMPLETION_INDEX", "TF_CONFIG"),
    }
)


def seed_of_device(state: list[int], number: int) -> list[int]:
    """Returns the state of a Keras seed generator with which a device draws for its own images.

    Args:
        state: seed and count of the generator that is saved. Keras increments the count, and draws by the sum of both.
        number: of the device; the first, 0, keeps the state.
    """
    seed, count = state
    return [(seed + number * 0x9E3779B9) % 2**31, count]


class TestBatches(Protocol):
    """The batches that a run is tested on, by index, as in `keras.utils.PyDataset`.

    Attributes:
        workers: the number of threads that prepare batches in advance.
    """

    workers: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def repeated(self) -> Iterator[Any]:
        """Yields all batches in order, endlessly."""


class Devices:
    """The devices that a run trains on. This class is for one device and one process; backends subclass it for more.

    A global batch is divided into equal parts, one per device. Gradients, batch-norm statistics and metrics are those
    of the global batch, so a run gives the same result on any number of devices, up to rounding. (On the papers' GPUs,
    batch-norm statistics were presumably those of each GPU's part, as here with gradient accumulation.)

    If several processes train one run, all of them take the same steps, and one, the chief, writes files and reports.

    Attributes:
        processes: the number of processes that train together.
        process: the index of this process, from 0.
        replicas: the number of devices of all processes.
        supports_loops: whether a training step may contain a loop.
        supports_accumulation: whether a batch may go through the network in parts, for gradient accumulation.
    """

    supports_loops = supports_accumulation = True

    def __init__(self, processes: int = 1, process: int = 0, replicas: int = 1) -> None:
        self.processes, self.process, self.replicas = processes, process, replicas

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.process == 0

    def for_batch(self, size: int) -> Devices:
        """Returns the devices to divide a global batch of this size among: perhaps fewer, if none were requested."""
        return self

    def check_batch(self, size: int) -> None:
        """Checks that a global batch of this size can be divided equally among the devices.

        Raises:
            ValueError: the number of devices does not divide it.
        """
        if size % self.replicas:
            raise ValueError(
                f"A batch of {size} images cannot be divided over {self.replicas} devices. Choose a --batch-size that "
                f"is a multiple of {self.replicas}, and at most the number of training images."
            )

    def scope(self) -> AbstractContextManager[Any]:
        """Context manager in which the model must be built, compiled, restored, trained and tested."""
        return contextlib.nullcontext()

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        """Makes a compiled model train on all devices as one. To be called once, after a checkpoint has been restored.

        Args:
            logits_model: the model that is tested and saved.
            training_model: the model that is trained: the same one, or one made of its layers, with its optimizer.
        """

    def feed(self, batches: Callable[[], Iterator[Any]]) -> Any:
        """Returns the training data for `model.fit`.

        Args:
            batches: returns an iterator over this process's parts of the global batches; each call starts at the first.
        """
        return batches()

    def feed_test(self, batches: TestBatches) -> Any:
        """Returns the test data for `model.fit` and `model.evaluate`, which run through all batches in every test."""
        return batches

    def saving_scope(self, logits_model: Any) -> AbstractContextManager[Any]:
        """Context manager in which a prepared model has its original layers again, and a single process may save it."""
        return contextlib.nullcontext()

    def gather(self, text: str) -> list[str]:
        """Returns the texts passed by all processes, in order of the processes. Also a barrier: each waits for all."""
        return [text]

    def gather_metrics(self, local: list[float]) -> list[list[float]]:
        """Returns the values of the metric variables, in parts that add up to those of all processes.

        There is one part per process where each counts its own images, and a single one where each has the totals.

        Args:
            local: the values in this process.
        """
        return [local]

    def local_metrics(self, parts: list[list[float]]) -> list[float]:
        """Returns the values from which the metric variables of this process resume.

        Args:
            parts: those of `gather_metrics`, perhaps from a run with another number of processes.
        """
        return [sum(values) for values in zip(*parts, strict=True)]

    @contextlib.contextmanager
    def fail_together(self) -> Iterator[None]:
        """Context manager that fails in all processes if it fails in any of them.

        Raises:
            ValueError: the block has failed in another process.
        """
        try:
            yield
        except Exception as error:
            self.gather(str(error) or type(error).__name__)
            raise
        if problem := next(filter(None, self.gather("")), ""):
            raise ValueError(problem)

    def chief_first(self, work: Callable[[], Result]) -> Result:
        """Calls a function in every process, in the chief first, so that the others find what it has downloaded.

        Raises:
            ValueError: the call has failed in another process.
        """
        for chiefs_turn in (True, False):
            with self.fail_together():
                if self.chief == chiefs_turn:
                    result = work()
        return result


def device_count(count: int | None, accelerators: int, processors: int) -> int:
    """Returns the number of devices that this process trains on.

    Args:
        count: the requested number; None for all accelerators, or for one processor where there is none.
        accelerators: the number of accelerators available.
        processors: the number of processors available, which are used only where there are no accelerators.

    Raises:
        ValueError: `count` is not from 1 to the number available.
    """
    available = accelerators or processors
    if count is None:
        return accelerators or 1
    if not 1 <= count <= available:
        raise ValueError(f"`devices` must be from 1 to the {available} available. Received: {count}")
    return count


def refuse_torchrun(engine: str) -> None:
    """Refuses a launch by torchrun, on backends that do not support it.

    Raises:
        ValueError: torchrun has started this process as one of several.
    """
    if torchrun_processes() > 1:
        raise ValueError(
            f"torchrun starts processes for Torch, but the backend is {engine!r}. Add --backend torch, or start one "
            "process per machine: JAX finds the others through the variables of Slurm, Kubernetes or Keras."
        )


def torchrun_processes() -> int:
    """Returns the number of processes that torchrun has started, by the variables that it sets; 1 without torchrun."""
    variables = launcher_environment()
    return int(variables.get("WORLD_SIZE", 1)) if "RANK" in variables else 1


def launcher_environment() -> dict[str, str]:
    """Returns the environment variables that a launcher has set for this process."""
    return {name: value for name, value in os.environ.items() if name in LAUNCHERS}


def environment_without_launcher() -> dict[str, str]:
    """Returns the environment for a subprocess that is to train alone."""
    return {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
