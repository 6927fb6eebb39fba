"""The machine's processors, GPUs and memory, as far as a process can use them whatever the backend."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

# Parameters of `mallopt`, from glibc's malloc.h, and their values.
MALLOC_SETTINGS = {
    -4: 0,  # M_MMAP_MAX: large blocks come from the heap, not from mappings that are unmapped when freed
    -1: -1,  # M_TRIM_THRESHOLD: free memory at the end of the heap is not returned either, however much it is
    -8: 1,  # M_ARENA_MAX: one heap for all threads, since large blocks do not fit into the heaps of further arenas
}
# Matches the errors of the backends, NumPy and C++ when memory runs out.
NO_MEMORY = re.compile(
    r"[Oo]ut of memory|RESOURCE_EXHAUSTED|ResourceExhausted|MemoryError|bad_alloc|can't allocate memory|\bOOM\b"
)


def cores() -> int:
    """Returns the number of cores that this process may use, in a container of limited processor time rounded up."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return math.ceil(min(available, processor_time()))


def processor_time(root: Path = Path("/")) -> float:
    """Returns how many seconds of processor time a second may have, by Linux's control groups; infinity for any number.

    Kubernetes and Docker limit containers in this way, which hides no core from the process.

    Args:
        root: the root of the file system.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not on Linux
        return math.inf
    limit = math.inf
    for _, controllers, path in (group.split(":", 2) for group in groups):
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup" / ("cpu" if controllers else "")  # version 1 has a hierarchy per controller
        group = mounted / path.strip("/")
        # The limits of all enclosing groups apply. Of those, a container may only see its own, as the outermost.
        while group.is_relative_to(mounted):
            limit = min(limit, _limit_of(group))
            group = group.parent
    return limit


def _limit_of(group: Path) -> float:
    """Returns the processor time per second of a control group, of version 2 or 1; infinity if it has no limit."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # a file is missing, or says "max"
            quota, period = (int(number) for file in files for number in (group / file).read_text().split())
            return quota / period if quota > 0 else math.inf
    return math.inf


@functools.cache
def avx512() -> bool:
    """Returns whether the processor has AVX-512. On systems other than Linux it is assumed not to."""
    return _has_extension("avx512f")


@functools.cache
def amx() -> bool:
    """Returns whether the processor multiplies bfloat16 matrices by AMX. On systems other than Linux, see `avx512`."""
    return _has_extension("amx_bf16")


def _has_extension(name: str) -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and name in cpuinfo.read_text().split()


def gpus() -> list[str]:
    """Returns the indices or names of the NVIDIA GPUs that this process may use, whether or not a backend can."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    output = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    return [str(index) for index, line in enumerate(output.splitlines()) if line.startswith("GPU ")]


def reader_threads() -> int:
    """Returns how many threads prepare batches in advance: one per core, at most 16, since each holds a whole batch."""
    return min(cores(), 16)


def keep_freed_memory() -> bool:
    """Makes this process retain the memory that it frees, so that training steps do not wait for page faults.

    A training step on a processor needs the same hundreds of megabytes every time. By glibc's defaults, much of it is
    returned to the system after each step, which has to clear and map it again, page by page. Where this is slow, as in
    virtual machines, it takes a tenth to a quarter of a step on JAX and, with large images, on Torch. The command calls
    this function itself; in a program of your own, call it before the first network is built. The memory is returned to
    the system only when the process ends.

    Returns:
        Whether it has succeeded: False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) for parameter, value in MALLOC_SETTINGS.items())
