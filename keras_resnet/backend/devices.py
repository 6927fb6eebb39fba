"""What a run must know of the devices that it trains on, whatever engine drives them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")

# The variables by which launchers tell a process which of several it is: torchrun's, Keras's own, JAX's, those of a
# step of Slurm and of Open MPI, of an indexed job of Kubernetes, and TensorFlow's. No other of theirs is looked at.
LAUNCHERS = frozenset(
    {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE"),
        *("KERAS_DISTRIBUTION_JOB_ADDRESSES", "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
        *("JAX_COORDINATOR_ADDRESS", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"),
        *("JOB_COMPLETION_INDEX", "TF_CONFIG"),
    }
)


class TestBatches(Protocol):
    """What a run is tested on: batches by number, as `keras.utils.PyDataset` has them.

    Attributes:
        workers: the threads that make them ahead.
    """

    workers: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def repeated(self) -> Iterator[Any]:
        """All batches, and again from the first."""


class Devices:
    """Where a run trains: here on one device, in one process. Each engine's module has its own way to more.

    A global batch is divided into equal parts, one a device. Gradients, batch norm's statistics and metrics are those
    of the global batch, so that a run comes to the same on any number of devices, but for rounding. (The papers'
    training on many GPUs, as all of its time, took batch norm's statistics of each GPU's part; that could be offered.)

    Where several processes train one run, all of them do the same steps, and one, the chief, writes and speaks.

    Attributes:
        processes: how many train together.
        process: which one of them this is, from 0.
        replicas: the devices of all of them.
        supports_loops: whether a training step may contain a loop.
        supports_accumulation: whether a batch may go through the network in parts.
    """

    supports_loops = supports_accumulation = True

    def __init__(self, processes: int = 1, process: int = 0, replicas: int = 1) -> None:
        self.processes, self.process, self.replicas = processes, process, replicas

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.process == 0

    def for_batch(self, size: int) -> Devices:
        """These; of devices that nobody asked for, those among which a global batch of this size is to be divided."""
        return self

    def check_batch(self, size: int) -> None:
        """Makes sure that a global batch can be divided.

        Raises:
            ValueError: the devices do not divide it.
        """
        if size % self.replicas:
            raise ValueError(
                f"A batch of {size} images cannot be divided over {self.replicas} devices. Choose a --batch-size that "
                f"is a multiple of {self.replicas}, and at most the number of training images."
            )

    def scope(self) -> AbstractContextManager[Any]:
        """In which the model is built, compiled, restored, trained and tested."""
        return contextlib.nullcontext()

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        """Has a compiled model train on all the devices as one; once, behind the restoring of a checkpoint.

        Args:
            logits_model: the model as it is tested and saved.
            training_model: the model as it is trained: the same, or one around its layers, with its optimizer.
        """

    def feed(self, batches: Callable[[], Iterator[Any]]) -> Any:
        """What `model.fit` is given to train on.

        Args:
            batches: gives this process's parts of the global batches, from the first on whenever it is called.
        """
        return batches()

    def feed_test(self, batches: TestBatches) -> Any:
        """What `model.fit` and `model.evaluate` are given to test on: as often as they ask, all of these batches."""
        return batches

    def saving_scope(self, logits_model: Any) -> AbstractContextManager[Any]:
        """In which a prepared model is made of the layers that it was built of, and one process alone may save it."""
        return contextlib.nullcontext()

    def gather(self, text: str) -> list[str]:
        """What each process says, in their order; it also has all of them wait for one another."""
        return [text]

    def gather_metrics(self, own: list[float]) -> list[list[float]]:
        """What the metrics' variables hold, in parts that add up to the whole: here each process has it all."""
        return [own]

    def local_metrics(self, parts: list[list[float]]) -> list[float]:
        """What the metrics' variables of this process go on from, of `gather_metrics` at any number of processes."""
        return [sum(values) for values in zip(*parts, strict=True)]

    @contextlib.contextmanager
    def fail_together(self) -> Iterator[None]:
        """A block that all processes leave together; what goes wrong in one of them is raised in all.

        Raises:
            ValueError: something went wrong in another process.
        """
        try:
            yield
        except Exception as error:
            self.gather(str(error) or type(error).__name__)
            raise
        if problem := next(filter(None, self.gather("")), ""):
            raise ValueError(problem)

    def chief_first(self, work: Callable[[], Result]) -> Result:
        """Does work in every process, the chief first: what it downloads, those beside it find.

        Raises:
            ValueError: something went wrong in another process.
        """
        with self.fail_together():
            result = work() if self.chief else None
        with self.fail_together():
            return result if self.chief else work()


def device_count(count: int | None, accelerators: int, processors: int) -> int:
    """How many devices this process trains on.

    Args:
        count: what was asked for; None for every accelerator, and one processor where there is none.
        accelerators, processors: what there is of each.

    Raises:
        ValueError: there are not as many.
    """
    there = accelerators or processors
    if count is None:
        return accelerators or 1
    if not 1 <= count <= there:
        raise ValueError(f"`devices` must be from 1 to the {there} that are there. Received: {count}")
    return count


def refuse_torchrun(engine: str) -> None:
    """For the engines that do not understand torchrun.

    Raises:
        ValueError: it has started this process as one of several.
    """
    if torchrun_processes() > 1:
        raise ValueError(
            f"torchrun starts processes for Torch, and the backend is {engine!r}. Add --backend torch, or start one "
            "process a machine: JAX finds the others by Slurm's, Kubernetes' or Keras's own variables."
        )


def torchrun_processes() -> int:
    """How many processes torchrun has started, by the variables that it sets; 1 where it has not."""
    told = launcher_environment()
    return int(told.get("WORLD_SIZE", 1)) if "RANK" in told else 1


def launcher_environment() -> dict[str, str]:
    """What a launcher has told this process."""
    return {name: value for name, value in os.environ.items() if name in LAUNCHERS}


def environment_without_launcher() -> dict[str, str]:
    """The environment of a process that this one starts, and which is to train alone."""
    return {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
