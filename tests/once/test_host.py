"""A process retains the memory that it frees; and instruction sets of the processor are detected."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from keras_resnet import host

# In a thread, repeatedly allocates more memory than glibc retains by default, writes 80 MB of it and frees it; counts
# the page faults.
PROGRAM = """
import ctypes, json, resource, sys, threading
from keras_resnet import cli

faults = []

def work():
    c = ctypes.CDLL(None)
    c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = c.malloc(int(sys.argv[2]))
        c.memset(block, 1, 80_000_000)
        c.free(block)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

if sys.argv[1] == "command":
    cli.main(["summary", "--json", "resnet20"])
thread = threading.Thread(target=work)
thread.start()
thread.join()
print("\\n" + json.dumps(faults))
"""


def faults(how: str, size: int) -> list[int]:
    command = [sys.executable, "-c", PROGRAM, how, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("size", [80_000_000, 2_200_000_000])
def test_the_command_maps_pages_once_and_another_process_each_time(size):
    if platform.libc_ver()[0] != "glibc":
        assert not host.keep_freed_memory()
        return
    first, *later = faults("command", size)
    assert first > 20  # 19,532 pages, or 39 where all are huge
    assert max(later) < 20
    assert min(faults("import", size)) > 20


def test_nothing_is_done_with_another_c_library(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not host.keep_freed_memory()


@pytest.mark.parametrize(
    ("cpuinfo", "avx512", "amx"),
    [
        ("flags\t\t: fpu avx avx2 avx512f avx512dq\nbugs\t\t:\n", True, False),
        ("flags\t\t: fpu avx avx2 avx512f", True, False),
        ("flags\t\t: fpu avx avx2\nbugs\t\t:\n", False, False),
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile\nbugs\t\t:\n", True, True),
        (None, False, False),  # a system other than Linux
    ],
)
def test_extensions_of_the_processor_are_detected(monkeypatch, tmp_path, cpuinfo, avx512, amx):
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(host, "Path", lambda path: file if path == "/proc/cpuinfo" else Path(path))
    assert (host.avx512.__wrapped__(), host.amx.__wrapped__()) == (avx512, amx)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),  # as in a container
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),
        ("0::/job/step", {"job/cpu.max": "400000 100000", "job/step/cpu.max": "max 100000"}, 4),  # as under Slurm
        ("0::/job/step", {"job/cpu.max": "400000 100000", "job/step/cpu.max": "50000 100000"}, 0.5),
        (
            "12:cpuset:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/",
            {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "50000"},
            3,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:cpuacct:/\n0::/", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, math.inf),
        (None, {}, math.inf),  # a system other than Linux
    ],
)
def test_the_processor_time_of_a_container_is_known(tmp_path, groups, files, expected):
    """As the kernel documents it: cgroup-v2.rst, and sched-bwc.rst for version 1."""
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {**files, **({"proc/self/cgroup": groups} if groups else {})}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert host.processor_time(tmp_path) == expected


@pytest.mark.parametrize(("limit", "expected"), [(0.5, 1), (2.5, 3), (9.0, 4), (math.inf, 4)])
def test_no_more_cores_are_used_than_a_container_has_time_for(monkeypatch, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(host, "processor_time", lambda: limit)
    assert host.cores() == expected


@pytest.mark.parametrize(("visible", "expected"), [("", []), ("-1", []), ("0,2", ["0", "2"]), ("GPU-8f", ["GPU-8f"])])
def test_the_visible_gpus_are_those_of_the_environment(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert host.gpus() == expected
