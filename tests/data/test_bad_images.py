"""Images that cannot be decoded are skipped or replaced, logged once, counted, and refused if there are too many."""

import io
import logging
import os
import re

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import DataError, StreamTestBatches, StreamTrainingBatches, bad_images, load
from keras_resnet.data.bad_images import BadImages
from keras_resnet.data.stream_batches import Split, _order
from pictures import Album, jpeg, photograph

PICTURE = photograph(0, 60, 80)


def _saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _good() -> dict[str, bytes]:
    """Valid images of every kind that occurs in folders of photographs."""
    rgb = Image.fromarray(PICTURE)
    deep = np.random.default_rng(0).integers(0, 2**16, (60, 80), dtype=np.uint16)
    return {
        "cmyk.jpg": jpeg(PICTURE, "CMYK"),
        "grey.jpg": jpeg(PICTURE, "L"),
        "progressive.jpg": jpeg(PICTURE, progressive=True),
        "png_inside.jpg": _saved(rgb, "PNG"),
        "jpeg_inside.png": jpeg(PICTURE),
        "deep.png": _saved(Image.fromarray(deep), "PNG"),
        "palette.png": _saved(rgb.convert("P"), "PNG"),
        "alpha.png": _saved(rgb.convert("RGBA"), "PNG"),
        "black_and_white.png": _saved(rgb.convert("1"), "PNG"),
        "photograph.webp": _saved(rgb, "WEBP"),
        "photograph.bmp": _saved(rgb, "BMP"),
        "photograph.tif": _saved(rgb, "TIFF"),
        "tiny.png": _saved(rgb.resize((1, 1)), "PNG"),
    }


def _bad(rng: np.random.Generator, number: int) -> tuple[str, bytes]:
    """A file that certainly cannot be decoded."""
    kind = (
        "short.jpg",
        "closed.jpg",
        "short.png",
        "short.webp",
        "progressive.jpg",
        "empty.jpg",
        "text.jpg",
        "zero.jpg",
    )
    name = kind[number % len(kind)]
    data = {
        "png": _saved(Image.fromarray(PICTURE), "PNG"),
        "ebp": _saved(Image.fromarray(PICTURE), "WEBP", quality=90),
        "jpg": jpeg(PICTURE, progressive=name == "progressive.jpg", quality=int(rng.integers(50, 95))),
    }[name[-3:]]
    truncated = data[: int(len(data) * rng.uniform(0.0, 0.9))]
    contents = {
        "closed.jpg": data[: int(len(data) * rng.uniform(0.5, 0.8))] + b"\xff\xd9",
        "empty.jpg": b"",
        "text.jpg": b"<html>404 not found</html>" * number,
        "zero.jpg": bytes(len(data)),
    }
    return f"{number}_{name}", contents.get(name, truncated)


def _doubtful(rng: np.random.Generator, number: int) -> tuple[str, bytes]:
    """A JPEG with flipped bits or a zeroed range, which may or may not be decoded."""
    data = bytearray(jpeg(PICTURE, quality=int(rng.integers(50, 95))))
    if number % 2:
        for at in rng.integers(0, len(data), 5):
            data[at] ^= 1 << int(rng.integers(8))
    else:
        first = int(rng.integers(len(data)))
        data[first : first + 200] = bytes(len(data[first : first + 200]))
    return f"{number}_doubtful.jpg", bytes(data)


@pytest.fixture
def folder(tmp_path):
    """Writes {name: contents} into a class folder of each side; every class folder also has a valid photograph."""

    def write(train: dict[str, bytes], test: dict[str, bytes] | None = None):
        for side, files in (("train", train), ("val", test or {})):
            for name, contents in {"a": files, "b": {"whole.jpg": jpeg(PICTURE)}}.items():
                (tmp_path / side / name).mkdir(parents=True)
                for file, data in ({"whole.jpg": jpeg(PICTURE)} | contents).items():
                    (tmp_path / side / name / file).write_bytes(data)
        return load(f"folder:{tmp_path}")

    return write


@pytest.fixture
def log(caplog, monkeypatch):
    """Returns a function that returns the messages logged so far."""
    monkeypatch.setattr(bad_images, "_logged", set())
    caplog.set_level(logging.INFO, "keras_resnet.data")
    return lambda: [record.getMessage() for record in caplog.records]


OPTIONS = {"batch_size": 16, "seed": 0, "size": 32, "scales": (36, 60), "threads": 1}


def test_valid_images_of_every_kind_are_used(folder, log):
    data = folder(_good(), _good())
    assert sum(weights.sum() for _, _, weights in data.test_batches(batch_size=4, size=32)) == len(_good()) + 2
    for crop in ("scale", "aspect_ratio"):
        stream = data.training_batches(**OPTIONS, crop=crop).stream()
        for _ in range(4):
            next(stream)
        stream.close()
    assert log() == []


def test_a_few_hundred_damaged_files_are_skipped(folder, log, capfd):
    rng = np.random.default_rng(0)
    bad = dict(_bad(rng, number) for number in range(160))
    doubtful = dict(_doubtful(rng, number) for number in range(160))
    closed = {name for name in bad if "closed" in name}  # the rest of these may contain all that a view needs
    data = folder(_good() | bad | doubtful, bad)
    batches = data.training_batches(**OPTIONS, bad_share=0.98)
    epochs = 2
    stream = batches.stream()
    for _ in range(epochs * len(batches)):
        assert next(stream)[0].shape == (16, 32, 32, 3)
    stream.close()
    named = [line.partition(" cannot be decoded")[0].rpartition("/")[2] for line in log()[:-1] if "epoch" not in line]
    assert len(named) == len(set(named)) > 200
    assert not set(named) & {*_good(), "whole.jpg"}
    drawn = [_order(data.train_count, 0, epoch)[: 16 * len(batches)].tolist() for epoch in range(epochs)]
    met = {record.name.rpartition("/")[2] for numbers in drawn for record in data.train.source.read(numbers)}
    assert set(bad) & met - closed <= set(named)
    reports = [line for line in log() if "epoch" in line]
    assert [" epoch 1: " in reports[0], " epoch 2: " in reports[1], len(reports)] == [True, True, 2]
    assert min(int(re.search(r"(\d+) times", line)[1]) for line in reports) > 100  # each at the end of its epoch

    weights = np.concatenate([w for _, _, w in data.test_batches(batch_size=16, size=32, bad_share=0.99)])
    assert weights.sum() == data.test_count - len(bad) == 2
    assert "160 different ones so far, of 162" in log()[-1]
    assert len(set(capfd.readouterr().err.splitlines())) <= 4  # libjpeg may warn about a few files only


def test_a_bad_image_is_replaced_by_the_next_decodable_one(log):
    """In the order of the epoch, whose first image follows its last."""
    valid = [jpeg(photograph(number, 40, 40)) for number in range(12)]

    def batches(files, **options):
        return StreamTrainingBatches(split=Split(Album(files), np.arange(12), "album"), **OPTIONS | options)

    order = batches(valid, batch_size=12).batch(0, 0)[1].tolist()
    bad = {order[3], order[4], order[11]}
    broken = [b"" if number in bad else file for number, file in enumerate(valid)]
    expected = []
    for at in range(12):
        while order[at % 12] in bad:
            at += 1
        expected.append(order[at % 12])
    assert batches(broken, batch_size=12).batch(0, 0)[1].tolist() == expected
    parts = [batches(broken, batch_size=4, shard=(n, 4)).batch(0, index)[1] for index in range(3) for n in range(4)]
    assert np.concatenate(parts).tolist() == expected
    assert len(log()) == 3  # each is logged once, although several objects met them


def test_at_most_the_share_is_accepted_of_a_large_set_and_ten_images_of_a_small_one():
    assert [BadImages("album", total).limit for total in (100, 1099, 1100, 1999, 2000)] == [10, 10, 11, 19, 20]


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_images_end_the_run(folder, log, workers):
    data = folder({f"{number}.jpg": b"" for number in range(12)} | {f"{n}_good.jpg": jpeg(PICTURE) for n in range(30)})
    stream = data.training_batches(**OPTIONS, workers=workers).stream()
    with pytest.raises(DataError) as caught:
        for _ in range(20):
            next(stream)
    message = str(caught.value)
    assert "\n" not in message
    assert "train: 11 of 44 images cannot be decoded, the first are " in message
    assert message.endswith("Accepted: up to 10 (bad_share=0.01)")
    assert all(name.endswith(".jpg") for name in message.split("first are ")[1].split(". Accepted")[0].split(", "))


def test_too_many_bad_test_images_end_the_test(folder, log):
    data = folder({}, {f"{number}.jpg": b"" for number in range(12)})
    with pytest.raises(DataError, match=r"test: 1[12] of 14 images cannot be decoded"):
        list(data.test_batches(batch_size=14, size=32))
    assert sum(weights.sum() for _, _, weights in data.test_batches(batch_size=14, size=32, bad_share=0.9)) == 2


def test_a_set_of_bad_images_only_is_refused(log):
    for count in (1, 3, 50):
        side = Split(Album([b""] * count), np.arange(count), "album")
        with pytest.raises(DataError, match="album: "):
            StreamTrainingBatches(split=side, **OPTIONS, bad_share=1.0).batch(0, 0)
        with pytest.raises(DataError, match="album: "):
            list(StreamTestBatches(split=side, batch_size=4, size=8, threads=0, bad_share=1.0))


def test_a_file_that_vanishes_is_a_bad_image(folder, log):
    data = folder({"vanishing.jpg": jpeg(PICTURE)})
    vanishing = next(record.name for record in data.train.source.read([0, 1, 2]) if "vanishing" in record.name)
    os.remove(vanishing)
    data.training_batches(**OPTIONS).batch(0, 0)
    assert log() == [f"{vanishing} cannot be decoded as an image and is skipped"]


def test_each_report_counts_anew_how_often_a_bad_image_was_met(log):
    bad = BadImages("album", 2000)
    bad.note(["a.jpg", "b.jpg", "a.jpg"])
    bad.report("epoch 1")
    bad.note(["b.jpg"])
    bad.report("epoch 2")
    bad.report("epoch 3")  # nothing was met
    assert [line for line in log() if "epoch" in line] == [
        "album, epoch 1: met images that cannot be decoded 3 times; 2 different ones so far, of 2000",
        "album, epoch 2: met images that cannot be decoded 1 times; 2 different ones so far, of 2000",
    ]


def test_an_image_that_was_met_often_counts_once():
    """Such as one that precedes another bad one, and would have replaced it."""
    bad = BadImages("album", 100)
    bad.check(11 * ["a.jpg"])
    with pytest.raises(DataError, match=r"album: 11 of 100 images cannot be decoded, the first are 0, 1, 2\."):
        bad.check(list(map(str, range(11))))
