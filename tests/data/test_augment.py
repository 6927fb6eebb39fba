"""Augmentation, compared with a simple reference that treats one image at a time, and the batches of a run."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_resnet.data import ArrayTestBatches, TrainingBatches, cut_out, pad_crop_flip, steps_per_epoch


def _windows(image, pad, flip, fill):
    """All results that padding, cropping and mirroring can give for one image, by (top, left, mirrored)."""
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * pad, width + 2 * pad, channels), image.dtype)
    for channel in range(channels):
        padded[:, :, channel] = fill[channel]
        padded[pad : pad + height, pad : pad + width, channel] = image[:, :, channel]
    return {
        (top, left, mirrored): padded[top : top + height, left : left + width][:, :: -1 if mirrored else 1]
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
        for mirrored in ([False, True] if flip else [False])
    }


@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    pad=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_every_output_is_a_window_of_its_image(shape, pad, flip, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    fill = rng.integers(0, 256, shape[-1], dtype=np.uint8)
    before = images.copy()
    augmented = pad_crop_flip(images, rng, pad=pad, flip=flip, fill=fill)
    assert (augmented.shape, augmented.dtype) == (images.shape, np.uint8)
    for image, output in zip(images, augmented, strict=True):
        assert any(np.array_equal(output, window) for window in _windows(image, pad, flip, fill).values())
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(images, augmented)


def test_windows_and_mirroring_are_uniform_and_independent():
    pad, count = 2, 50_000
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    choices = {w.tobytes(): key for key, w in _windows(image, pad, True, (200, 201, 202)).items()}
    assert len(choices) == 5 * 5 * 2  # all of them differ
    images = np.broadcast_to(image, (count, *image.shape))
    augmented = pad_crop_flip(images, np.random.default_rng(0), pad=pad, flip=True, fill=(200, 201, 202))
    drawn = dict.fromkeys(choices.values(), 0)
    for output in augmented:
        drawn[choices[output.tobytes()]] += 1
    expected = count / len(drawn)
    chi_squared = sum((n - expected) ** 2 / expected for n in drawn.values())
    assert chi_squared < 85.4  # 49 degrees of freedom: more in one of a thousand seeds


def test_without_padding_and_flipping_images_are_unchanged():
    images = np.random.default_rng(0).integers(0, 256, (8, 5, 7, 3), dtype=np.uint8)
    augmented = pad_crop_flip(images, np.random.default_rng(1), pad=0, flip=False, fill=(0, 0, 0))
    np.testing.assert_array_equal(augmented, images)


def test_any_memory_layout_and_read_only_inputs_are_accepted():
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 7, 3), dtype=np.uint8)
    reversed_channels = images[..., ::-1]
    reversed_channels.flags.writeable = False
    arguments = {"pad": 2, "flip": True, "fill": (1, 2, 3)}
    np.testing.assert_array_equal(
        pad_crop_flip(reversed_channels, np.random.default_rng(1), **arguments),
        pad_crop_flip(reversed_channels.copy(), np.random.default_rng(1), **arguments),
    )


@given(height=st.integers(1, 9), width=st.integers(1, 9), size=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_cutout_erases_one_square_about_a_pixel(height, width, size, seed):
    images = np.full((4, height, width, 3), 9, np.uint8)
    erased = cut_out(images, np.random.default_rng(seed), size=size, fill=(1, 2, 3))
    assert (images == 9).all()

    def square(row, column):
        expected = np.full((height, width, 3), 9, np.uint8)
        for y in range(row - size // 2, row - size // 2 + size):
            for x in range(column - size // 2, column - size // 2 + size):
                if 0 <= y < height and 0 <= x < width:
                    expected[y, x] = 1, 2, 3
        return expected

    squares = [square(row, column) for row in range(height) for column in range(width)]
    for output in erased:
        assert any(np.array_equal(output, expected) for expected in squares)


def test_cutout_centres_are_uniform():
    erased = cut_out(np.zeros((40_000, 4, 5, 1), np.uint8), np.random.default_rng(0), size=1, fill=255)
    share = (erased == 255).mean(axis=0)  # a square of one pixel is its centre
    np.testing.assert_allclose(share, 1 / 20, atol=0.005)


def _batches(count=20, batch_size=6, **changes) -> TrainingBatches:
    """Batches of `count` 4x4 images, each with its number in every pixel and as its label."""
    numbers = np.arange(count, dtype=np.int32)
    images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (count, 4, 4, 3))
    chosen = {"seed": 5, "pad": 0, "flip": False, "fill": (255, 255, 255)} | changes
    return TrainingBatches(images=images, labels=numbers, batch_size=batch_size, **chosen)


def test_an_epoch_has_every_image_at_most_once():
    batches = _batches()
    assert len(batches) == steps_per_epoch(20, 6) == 3
    left_over = set()
    for epoch in range(4):
        drawn = [batches.batch(epoch, index) for index in range(3)]
        assert all((images == labels[:, None, None, None]).all() for images, labels in drawn)
        labels = np.concatenate([labels for _, labels in drawn])
        assert len(set(labels.tolist())) == 18
        left_over.add(frozenset(range(20)) - frozenset(labels.tolist()))
    assert len(left_over) > 1


def test_fewer_images_than_a_batch_are_one_batch():
    batches = _batches(count=5, batch_size=128)
    assert len(batches) == steps_per_epoch(5, 128) == 1
    assert sorted(batches.batch(0, 0)[1]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("index", [-1, 3])
def test_a_batch_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match=f"`index` must be from 0 to 2. Received: {index}"):
        _batches().batch(0, index)


def test_a_resumed_stream_equals_the_uninterrupted_one():
    batches = _batches(pad=1, flip=True, cutout=2)
    uninterrupted, resumed = batches.stream(), batches.stream(start_epoch=2)
    for _ in range(2 * len(batches)):
        next(uninterrupted)
    for step in range(2 * len(batches)):
        images, labels = batches.batch(2 + step // len(batches), step % len(batches))
        for stream in (uninterrupted, resumed):
            streamed_images, streamed_labels = next(stream)
            np.testing.assert_array_equal(streamed_images, images)
            np.testing.assert_array_equal(streamed_labels, labels)


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_stream_may_begin_within_an_epoch(start):
    batches = _batches(pad=1, flip=True)
    stream = batches.stream(start_epoch=1, start_batch=start)
    for step in range(3 + start, 3 + start + 5):
        for streamed, expected in zip(next(stream), batches.batch(step // 3, step % 3), strict=True):
            np.testing.assert_array_equal(streamed, expected)


@pytest.mark.parametrize(("count", "batch_size"), [(20, 6), (5, 6)])
def test_the_parts_of_all_processes_make_the_batch_of_one(count, batch_size):
    options = {"count": count, "batch_size": batch_size, "pad": 1, "flip": True, "cutout": 2}
    parts = [_batches(**options, shard=(process, 3)).batch(1, 0) for process in range(3)]
    whole = _batches(**options).batch(1, 0)
    for expected, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(pieces), expected)


@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
@pytest.mark.parametrize("batch_size", [2, 6, 20, 128])
def test_every_test_image_occurs_once(batch_size, shard):
    numbers = np.arange(20, dtype=np.int32)
    images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (20, 4, 4, 3))
    batches = ArrayTestBatches(images=images, labels=numbers, batch_size=batch_size, shard=shard)
    part = batch_size // shard[1]
    for _ in range(2):
        one_pass = list(batches)
        assert len(one_pass) == len(batches) == -(-20 // batch_size)
        assert {(i.shape, y.shape, w.shape) for i, y, w in one_pass} == {((part, 4, 4, 3), (part,), (part,))}
        assert {(i.dtype.name, y.dtype.name, w.dtype.name) for i, y, w in one_pass} == {("uint8", "int32", "float32")}
        assert all((i == (y * (w > 0))[:, None, None, None]).all() for i, y, w in one_pass)
        numbers_of_process = np.arange(len(one_pass) * batch_size).reshape(-1, shard[1], part)[:, shard[0]].ravel()
        labels, weights = (np.concatenate([batch[n] for batch in one_pass]) for n in (1, 2))
        np.testing.assert_array_equal(weights, numbers_of_process < 20)
        np.testing.assert_array_equal(labels[weights > 0], numbers_of_process[numbers_of_process < 20])


def test_seed_epoch_and_index_each_change_the_draw():
    """Copies of one image, so that the order does not matter: all batches differ in nothing but their key."""
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    images, labels = np.repeat(image, 64, axis=0), np.zeros(64, np.int32)
    drawn = set()
    for seed in range(2):
        batches = TrainingBatches(
            images=images, labels=labels, batch_size=16, seed=seed, pad=4, flip=True, fill=(0, 0, 0)
        )
        drawn |= {batches.batch(epoch, index)[0].tobytes() for epoch in range(3) for index in range(4)}
    assert len(drawn) == 2 * 3 * 4


def test_cutout_leaves_the_crops_as_they_were():
    plain, erased = (_batches(pad=1, flip=True, cutout=size).batch(1, 1)[0] for size in (0, 2))
    different = (plain != erased).any(axis=-1)
    assert different.any()
    assert (erased[different] == 255).all()


def test_batches_are_the_same_in_a_fresh_process(run_alone):
    program = """
import hashlib
import numpy as np
from keras_resnet.data import TrainingBatches
images = np.arange(40 * 8 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 8, 8, 3)
batches = TrainingBatches(images=images, labels=np.arange(40), batch_size=16, seed=3, pad=2, flip=True,
                          fill=(1, 2, 3), cutout=3)
stream = batches.stream(start_epoch=1)
digest = hashlib.sha256(b"".join(a.tobytes() for _ in range(5) for a in next(stream))).hexdigest()
"""
    variables: dict = {}
    exec(program, variables)
    assert run_alone(program + "print(digest)") == variables["digest"]
    assert len(variables["digest"]) == hashlib.sha256().digest_size * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(3)}, "`images` and `labels` must have the same length.* Received: 20 images and 3 labels"),
        ({"batch_size": 0}, "`batch_size` must be a positive multiple .* processes, 1. Received: 0"),
        ({"shard": (0, 4)}, "`batch_size` must be a positive multiple .* processes, 4. Received: 6"),
        ({"shard": (3, 3)}, r"`shard` must be .* Received: \(3, 3\)"),
    ],
)
def test_invalid_arguments_are_refused(changes, message):
    arguments = {**vars(_batches()), **changes}
    with pytest.raises(ValueError, match=message):
        TrainingBatches(**arguments)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="0 images and 0 labels"):
        _batches(count=0)
