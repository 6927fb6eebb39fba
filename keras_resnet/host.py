"""What a process has of the machine under the engines: its cores and its memory."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

# Of glibc's malloc.h: parameters of `mallopt`, and what they are set to.
KEPT = {
    -4: 0,  # M_MMAP_MAX: nothing large is taken from the system by itself, to be given back when it is freed
    -1: -1,  # M_TRIM_THRESHOLD: nor is what is free at the end, however much it is
    -8: 1,  # M_ARENA_MAX: one heap for all threads; what is large does not fit into the others
}
# In what the backends, NumPy and C++ say where there is no memory left.
NO_MEMORY = re.compile(
    r"[Oo]ut of memory|RESOURCE_EXHAUSTED|ResourceExhausted|MemoryError|bad_alloc|can't allocate memory|\bOOM\b"
)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def avx512() -> bool:
    """Whether the processor has AVX-512. Only Linux is asked; elsewhere it is taken to have none."""
    about = Path("/proc/cpuinfo")
    return about.exists() and " avx512f " in f"{about.read_text()} ".replace("\n", " ")


def gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, by number or name, whether or not a backend can."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def reader_threads() -> int:
    """The threads that make batches ahead: one a core, and 16 at most, since each has a batch in memory."""
    return min(cores(), 16)


def keep_freed_memory() -> bool:
    """Has this process keep the memory that it frees, as long as it lives, so that no step waits for pages.

    A training step on a processor needs the same hundreds of megabytes again and again. By glibc's defaults much of
    that goes back to the system behind each step, which clears it and maps it anew, page by page; where pages are dear,
    as in virtual machines, that takes a tenth to a quarter of a step on JAX and, with large images, on Torch. The
    command does this to its own process; in one of yours, call it before the first network is built. What is kept goes
    back to the system when the process ends, and not before.

    Returns:
        Whether it does: False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) for parameter, value in KEPT.items())
