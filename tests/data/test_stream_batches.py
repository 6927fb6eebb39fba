"""Batches of a stream: independent of threads and workers, every image once, sharded, resumable."""

import io
import itertools
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import DataError, StreamTestBatches, StreamTrainingBatches, load
from keras_resnet.data.stream_batches import Split
from keras_resnet.data.transport import prefetch
from pictures import Album, jpeg, photograph

ALBUM = Album([jpeg(photograph(number, 40 + number, 60)) for number in range(20)])


def _side(album: Album = ALBUM) -> Split:
    return Split(album, np.arange(len(album)), "album")


def _training(album: Album = ALBUM, **options) -> StreamTrainingBatches:
    options = {"batch_size": 6, "seed": 5, "size": 24, "scales": (26, 48), "threads": 0} | options
    return StreamTrainingBatches(split=_side(album), **options)


def _testing(album: Album = ALBUM, **options) -> StreamTestBatches:
    options = {"batch_size": 6, "size": 24, "threads": 0} | options
    return StreamTestBatches(split=_side(album), **options)


def _same(batch, expected) -> None:
    for array, expected_array in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array)


def test_batches_have_the_types_that_a_network_takes():
    images, labels = _training().batch(0, 0)
    assert (images.shape, images.dtype) == ((6, 24, 24, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((6,), np.int32)


def test_a_test_averages_the_pixels_of_an_image_that_it_reduces():
    """Every third of 48 rows is 240; of 32 rows, every second has all of one and half of a black one: 160."""
    rows = np.zeros((48, 48, 3), np.uint8)
    rows[::3] = 240
    file = io.BytesIO()
    Image.fromarray(rows).save(file, "PNG")
    images, _, _ = _testing(Album([file.getvalue()]), size=32, resize=32, batch_size=1).batch(0)
    assert images[0, :, 5, 0].tolist() == [160, 0] * 16


def test_an_epoch_has_every_image_at_most_once():
    batches = _training()
    assert len(batches) == 3
    left_over = set()
    for epoch in range(4):
        labels = np.concatenate([batches.batch(epoch, index)[1] for index in range(3)])
        assert len(set(labels.tolist())) == 18
        left_over.add(frozenset(range(20)) - frozenset(labels.tolist()))
    assert len(left_over) > 1


def test_fewer_images_than_a_batch_are_one_batch():
    batches = _training(batch_size=128)
    assert len(batches) == 1
    assert sorted(batches.batch(0, 0)[1]) == list(range(20))


def test_views_may_have_another_size_in_each_epoch_and_show_the_same_windows():
    growing, grown = _training(size=(12, 18, 24)), _training(size=24)
    for epoch, size in enumerate((12, 18, 24, 24)):
        (images, labels), (expected, expected_labels) = growing.batch(epoch, 1), grown.batch(epoch, 1)
        assert images.shape == (6, size, size, 3)
        np.testing.assert_array_equal(labels, expected_labels)
        other = grown.batch(epoch, 2)[0]
        same, different = (
            np.abs(images.mean(axis=(1, 2)) - batch.mean(axis=(1, 2))).mean() for batch in (expected, other)
        )
        assert same < 2 < 10 < different  # the same windows, up to rounding to pixels
    _same(growing.batch(2, 0), grown.batch(2, 0))
    assert [images.shape[1] for images, _ in itertools.islice(growing.stream(), 12)] == 3 * [12] + 3 * [18] + 6 * [24]
    with pytest.raises(DataError, match=r"`size` must be at least 1. Received: 0"):
        _training(size=(0, 24))


@pytest.mark.parametrize("index", [-1, 3])
def test_a_batch_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"`index` must be from 0 to 2. Received: {index}"):
        _training().batch(0, index)


@pytest.mark.parametrize("threads", [0, 1, 3, None])
@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (1, 2)])
def test_a_stream_may_begin_anywhere_with_any_threads(threads, epoch, index):
    batches = _training(threads=threads, color="pca")
    stream = batches.stream(epoch, index)
    for step in range(3 * epoch + index, 3 * epoch + index + 5):
        _same(next(stream), batches.batch(step // 3, step % 3))
    stream.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(photographs, workers):
    data = load(f"folder:{photographs}")
    options = {"batch_size": 8, "seed": 3, "size": 32, "crop": "aspect_ratio", "color": "pca"}
    by_workers = data.training_batches(**options, workers=workers).stream(0, 2)
    expected = data.training_batches(**options, threads=0).stream(0, 2)
    for batch, expected_batch in itertools.islice(zip(by_workers, expected, strict=True), 5):
        _same(batch, expected_batch)
    by_workers.close()
    if workers == 2:
        for batch, expected_batch in zip(
            data.test_batches(batch_size=4, size=32, workers=2),
            data.test_batches(batch_size=4, size=32, threads=0),
            strict=True,
        ):
            _same(batch, expected_batch)


PREFETCHING = """
import multiprocessing, time
from keras_resnet.data.transport import prefetch

batches = prefetch(lambda number: (number,), 0, workers=2)
next(batches)
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""


def test_the_worker_processes_of_a_killed_process_end(alone):
    with subprocess.Popen(alone(PREFETCHING), stdout=subprocess.PIPE, text=True) as process:
        workers = [int(number) for number in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while (running := [number for number in workers if _runs(number)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for number in running:
        os.kill(number, signal.SIGKILL)
    assert not running


def test_worker_processes_survive_signals_to_the_group_and_one_that_is_killed_is_reported():
    others = multiprocessing.active_children()
    batches = prefetch(lambda number: (number,), 0, workers=1)
    first = next(batches)
    (worker,) = (child for child in multiprocessing.active_children() if child not in others)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        os.kill(worker.pid, number)
    assert [first, *itertools.islice(batches, 9)] == [(number,) for number in range(10)]
    worker.kill()
    with pytest.raises(DataError, match=r"^A worker process .* has ended unexpectedly, .* choose fewer `workers`"):
        for _ in range(10):  # some batches are ready
            next(batches)


def _runs(number: int) -> bool:
    """Whether a process exists and has not ended; where nobody waits for it, it stays as a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("crop", ["scale", "aspect_ratio"])
@pytest.mark.parametrize("batch_size", [6, 128])
def test_the_parts_of_all_processes_make_the_batch_of_one(crop, batch_size):
    whole = _training(crop=crop, color="pca", batch_size=batch_size)
    parts = [_training(crop=crop, color="pca", batch_size=batch_size, shard=(n, 2)) for n in range(2)]
    for index in range(len(whole)):
        shared = [part.batch(1, index) for part in parts]
        _same(whole.batch(1, index), [np.concatenate(arrays) for arrays in zip(*shared, strict=True)])
    whole = list(_testing(batch_size=8))
    shared = zip(*(_testing(batch_size=8, shard=(n, 4)) for n in range(4)), strict=True)
    for batch, parts in zip(whole, shared, strict=True):
        _same(batch, [np.concatenate(arrays) for arrays in zip(*parts, strict=True)])


def test_seed_epoch_and_index_each_change_the_draw():
    """Copies of one image, so that the order does not matter."""
    album = Album([jpeg(photograph(0, 60, 80))] * 8)
    drawn = {
        _training(album, batch_size=4, seed=seed).batch(epoch, index)[0].tobytes()
        for seed in range(2)
        for epoch in range(3)
        for index in range(2)
    }
    assert len(drawn) == 2 * 3 * 2


def test_half_of_the_views_are_mirrored_and_nothing_else_changes():
    album = Album([jpeg(photograph(0, 40, 40))] * 500)
    plain = _training(album, batch_size=500, flip=False).batch(0, 0)[0]
    flipped = _training(album, batch_size=500).batch(0, 0)[0]
    same = (flipped == plain).all(axis=(1, 2, 3))
    assert (flipped[~same] == plain[~same, :, ::-1]).all()
    assert abs(same.mean() - 0.5) < 0.075  # 3.4 standard deviations
    coloured = _training(album, batch_size=500, color="pca").batch(0, 0)[0].astype(int)
    offsets = np.median(coloured - flipped, axis=(1, 2))
    np.testing.assert_array_equal(coloured, np.clip(flipped + offsets[:, None, None], 0, 255))
    assert len(np.unique(offsets, axis=0)) > 50


@pytest.mark.parametrize("batch_size", [1, 6, 10, 20, 128])
def test_every_test_image_occurs_once(batch_size):
    batches = _testing(batch_size=batch_size)
    for _ in range(2):
        one_pass = list(batches)
        assert len(one_pass) == len(batches) == -(-20 // batch_size)
        assert {images.shape for images, _, _ in one_pass} == {(batch_size, 24, 24, 3)}
        labels, weights = (np.concatenate([batch[n] for batch in one_pass]) for n in (1, 2))
        assert (labels.dtype, weights.dtype) == (np.int32, np.float32)
        assert labels[weights == 1].tolist() == list(range(20))
        assert (weights[20:] == 0).all() and weights.sum() == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive multiple .* processes, 1. Received: 0"),
        ({"batch_size": 6, "shard": (0, 4)}, "`batch_size` must be a positive multiple .* processes, 4. Received: 6"),
        ({"shard": (2, 2)}, r"`shard` must be .* Received: \(2, 2\)"),
        ({"size": 0}, "`size` must be at least 1. Received: 0"),
        ({"crop": "random"}, "`crop` must be one of scale, aspect_ratio. Received: 'random'"),
        ({"color": "all"}, "`color` must be one of none, pca. Received: 'all'"),
        ({"scales": (20, 48)}, r"`scales` must be .* from the size 24 up. Received: \(20, 48\)"),
        ({"scales": (48, 26)}, r"`scales` must be .* Received: \(48, 26\)"),
        ({"crop": "aspect_ratio", "area": (0.0, 1.0)}, r"`area` must be .* Received: \(0.0, 1.0\)"),
        ({"bad_share": 2}, "`bad_share` must be from 0 to 1. Received: 2"),
    ],
)
def test_invalid_arguments_of_training_batches_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        _training(**options)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"size": 0}, {"resize": 20}, {"shard": (-1, 2)}])
def test_invalid_arguments_of_test_batches_are_refused(options):
    with pytest.raises(DataError):
        _testing(**options)


def test_negative_numbers_of_workers_are_refused():
    with pytest.raises(DataError, match=r"`workers` and `threads` must be at least 0. Received: -1 and 0"):
        next(_training(workers=-1).stream())
