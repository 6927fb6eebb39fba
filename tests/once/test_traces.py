"""What counts as computing in a trace, which trace is read, and which imports are blocked."""

from __future__ import annotations

import contextlib
import sys

import pytest

from keras_resnet.backend import import_blocker
from keras_resnet.backend.traces import Event, device, file, marked

GPU = "/device:GPU:0"
HOST = [
    Event("/host:CPU", "tf_XLA/1", "fusion", (3.0, 4.0)),
    Event("/host:CPU", "tf_XLA/1", "wait for work", (4.0, 9.0)),
    Event("/host:CPU", "python", "predict", (0.0, 9.0)),
]


def test_an_accelerator_computes_in_its_streams_and_not_in_the_line_that_spans_steps():
    on_device = [
        Event(GPU, "Steps", "1", (0.0, 10.0)),
        Event(GPU, "Stream #13", "convolution", (1.0, 2.0)),
        Event(GPU, "Stream #13", "event wait", (2.0, 8.0)),
    ]
    assert device(iter([*on_device, *HOST]), "tf_XLA") == [(1.0, 2.0)]


def test_without_an_accelerator_the_threads_that_compute_count():
    assert device(iter(HOST), "tf_XLA") == [(3.0, 4.0)]


def test_the_newest_trace_is_read(tmp_path):
    for day in ("2026_01_09_00_00_00", "2026_01_10_00_00_00", "2025_12_31_00_00_00"):
        (tmp_path / "plugins/profile" / day).mkdir(parents=True)
        (tmp_path / "plugins/profile" / day / "host.xplane.pb").touch()
    assert file(tmp_path).parent.name == "2026_01_10_00_00_00"


def test_every_wait_for_a_batch_is_marked_until_there_are_no_more():
    events = []

    @contextlib.contextmanager
    def mark():
        events.append("wait")
        yield
        events.append("end")

    def batches():
        for number in (1, 2):
            events.append(f"made {number}")
            yield number

    assert list(marked(batches(), mark)) == [1, 2]
    assert events == ["wait", "made 1", "end", "wait", "made 2", "end", "wait", "end"]


@pytest.mark.parametrize("engine", ["jax", "tensorflow", "torch"])
def test_only_the_imports_of_other_backends_are_blocked_also_after_another_choice(monkeypatch, engine):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for choice in ("torch", engine):
        import_blocker.block_imports(choice)
    first, *others = sys.meta_path
    assert isinstance(first, import_blocker.ImportBlocker)
    assert not any(isinstance(finder, import_blocker.ImportBlocker) for finder in others)
    assert engine not in first.modules and {"tensorflow", "jax"} - {engine} < first.modules
