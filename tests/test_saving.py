"""Model files are written completely or not at all, open in plain Keras, and fail with a clear error if damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_resnet import ResNet20, saving
from keras_resnet.models.fast_layers import VarianceScaling, has_fast_normal
from keras_resnet.training.folder import Progress, RunFolder
from keras_resnet.training.recipes import recipe_for

INFO = {"class_names": ["cat", "żółw"], "test_error": 8.75}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])


@pytest.fixture
def saved(model, tmp_path):
    saving.save(model, tmp_path / "model.keras", INFO)
    return tmp_path / "model.keras"


def test_a_model_is_loaded_with_the_information_saved_with_it(model, saved):
    loaded, info = saving.load(saved)
    assert info == INFO
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["pets", "pets.h5", "pets.weights.h5"])
def test_another_suffix_is_refused_and_nothing_is_written(model, tmp_path, name):
    with pytest.raises(ValueError, match=rf"`path` must end in .keras. Received: '.*{name}'"):
        saving.save(model, tmp_path / name, INFO)
    assert not list(tmp_path.iterdir())


def test_plain_keras_opens_the_file(model, saved):
    loaded = keras.saving.load_model(saved)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_a_file_of_plain_keras_opens_without_information(model, tmp_path):
    model.save(tmp_path / "model.keras")
    assert saving.load(tmp_path / "model.keras")[1] == {}


def test_a_model_that_is_loaded_and_saved_again_has_the_same_configuration(tmp_path):
    """Including its initializers, although loading replaces them where Keras's are slow."""

    def config_of(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"), object_hook=without_object_id)
        return config["config"]

    def without_object_id(config):
        config.pop("shared_object_id", None)
        return config

    network = ResNet20(zero_init_residual=True)
    network.save(tmp_path / "network.keras")
    opened, _ = saving.load(tmp_path / "network.keras")
    opened.save(tmp_path / "again.keras")
    assert config_of(tmp_path / "again.keras") == config_of(tmp_path / "network.keras")
    assert (type(opened.get_layer("stem_conv").kernel_initializer) is VarianceScaling) == has_fast_normal()
    for one, other in zip(opened.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def breaks(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["saving the model", "adding the information", "renaming"])
def test_a_failure_while_writing_leaves_the_old_file_intact_and_no_other(model, saved, monkeypatch, step):
    before = saved.read_bytes()
    target = {
        "saving the model": (keras.Model, "save"),
        "adding the information": (zipfile.ZipFile, "writestr"),
        "renaming": (os, "replace"),
    }
    monkeypatch.setattr(*target[step], breaks)
    with pytest.raises(OSError, match="No space left"):
        saving.save(model, saved, {"another": "info"})
    assert saved.read_bytes() == before
    assert names(saved.parent) == ["model.keras"]


def test_a_full_temporary_folder_is_not_taken_for_a_foreign_model(monkeypatch, saved):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.saving, "load_model", full)
    with pytest.raises(OSError, match=r"No space left on device: a copy of '.*keras' in"):
        saving.load(saved)


def test_a_checkpoint_that_cannot_be_written_leaves_the_others_unchanged(model, monkeypatch, tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(recipe_for(dataset="digits"))
    model.compile(keras.optimizers.SGD(), loss="mse")
    for epoch in (1, 2):
        folder.write_checkpoint(model, [], Progress([{"epoch": row} for row in range(1, epoch + 1)]))
    before = {path: path.read_bytes() for path in folder.checkpoints.iterdir()}
    monkeypatch.setattr(os, "replace", breaks)
    with pytest.raises(OSError, match="No space left"):
        folder.write_checkpoint(model, [], Progress([{"epoch": row} for row in (1, 2, 3)]))
    assert {path: path.read_bytes() for path in folder.checkpoints.iterdir()} == before


def test_the_last_two_checkpoints_are_kept(model, tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(recipe_for(dataset="digits"))
    model.compile(keras.optimizers.SGD(), loss="mse")
    for epochs in range(1, 5):
        rows = [{"epoch": row + 1} for row in range(epochs)]
        folder.write_checkpoint(model, [], Progress(rows, state={"epochs": epochs}))
    assert names(folder.checkpoints) == ["epoch_0003.keras", "epoch_0004.keras"]
    assert folder.restore(model, []).state == {"epochs": 4}


def test_checkpoints_are_sorted_in_the_order_in_which_they_were_written(model, tmp_path):
    """Even if their numbers of epochs and steps differ in the number of digits."""
    folder = RunFolder(tmp_path)
    folder.begin(recipe_for(dataset="digits"))
    model.compile(keras.optimizers.SGD(), loss="mse")
    for epochs, step in ((9_999, 0), (9_999, 999_999), (9_999, 1_000_000), (10_000, 0)):
        folder.write_checkpoint(model, [], Progress([{}] * epochs, step=step))
    assert [path.stem for path in folder.newest_first()] == ["epoch_10000", "epoch_9999_step_1000000"]


def test_a_checkpoint_that_lacks_a_part_of_the_optimizer_is_not_restored(model, tmp_path):
    """Keras itself only warns, and continues without the velocities."""
    folder = RunFolder(tmp_path)
    folder.begin(recipe_for(dataset="digits"))
    model.compile(keras.optimizers.SGD(), loss="mse")
    model.optimizer.build(model.trainable_variables)
    folder.write_checkpoint(model, [], Progress([{"epoch": 1}]))
    model.compile(keras.optimizers.SGD(momentum=0.9), loss="mse")
    with pytest.raises(ValueError, match="No checkpoint"):
        folder.restore(model, [])


def test_a_folder_is_checked_only_by_the_process_that_writes_to_it(tmp_path):
    """Other processes might check it while the chief already writes."""
    recipe = recipe_for(dataset="digits")
    (tmp_path / "history.csv").touch()
    RunFolder(tmp_path, writes=False).begin(recipe)
    with pytest.raises(ValueError, match=r"holds files but no recipe\.json"):
        RunFolder(tmp_path).begin(recipe)


def refused(path):
    with pytest.raises(ValueError) as caught:
        saving.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Give a `.keras` file" in str(caught.value)  # the remedy
    return str(caught.value)


def test_a_path_that_is_no_model_is_refused_in_one_line(saved, tmp_path):
    refused(tmp_path / "nothing.keras")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty")
    (tmp_path / "text.keras").write_text("hello")
    refused(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("a.txt", "hello")
    refused(tmp_path / "zip.keras")


def test_a_truncated_file_is_refused_wherever_it_ends(saved):
    intact = saved.read_bytes()
    for share in np.linspace(0, 1, 23, endpoint=False):
        saved.write_bytes(intact[: int(share * len(intact))])
        refused(saved)


def test_a_damaged_byte_is_found_in_every_member(saved):
    intact = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        members = archive.infolist()
    assert {member.filename for member in members} >= {"config.json", "model.weights.h5", "keras_resnet.json"}
    for member in members:
        damaged = bytearray(intact)
        damaged[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
        saved.write_bytes(damaged)
        refused(saved)


def test_a_damaged_central_directory_is_refused_in_one_line(saved):
    """Whatever a byte of it is part of: a version, a flag, a compression method, an offset."""
    intact, refusals = saved.read_bytes(), 0
    for offset in range(intact.index(b"PK\x01\x02"), len(intact)):
        damaged = bytearray(intact)
        damaged[offset] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            saving.read_info(saved)
            saving.verify(saved)
        except (ValueError, OSError):
            refusals += 1
    assert refusals > 100


def test_a_missing_member_is_found_by_the_checksums(saved):
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    del members["keras_resnet.json"]
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(saved)


def test_a_member_from_another_file_is_found_by_its_checksum(model, saved, tmp_path):
    """Every member is intact according to the archive's own CRC-32."""
    other = keras.models.clone_model(model)
    other.save(tmp_path / "other.keras")
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(tmp_path / "other.keras") as donor:
        members = {name: archive.read(name) for name in archive.namelist()}
        members["model.weights.h5"] = donor.read("model.weights.h5")
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    refused(saved)


def test_a_member_that_has_no_checksum_among_others_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    digest = hashlib.sha256(b"{}").hexdigest()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(saving.SUMS, f"{digest}  config.json\n")
    saving.verify(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("added", "")
    with pytest.raises(ValueError, match=r"model\.keras' is damaged: added does not match its checksum"):
        saving.verify(path)


def test_sha256sum_accepts_the_checksums(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        archive.extractall(tmp_path / "members")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "members", check=True)


def test_a_model_with_an_unknown_layer_is_refused_in_one_line(tmp_path):
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    image = keras.Input((4,))
    for name, model in (
        ("sequential", keras.Sequential([image, Unknown()])),
        ("functional", keras.Model(image, Unknown()(image))),
    ):
        model.save(tmp_path / f"{name}.keras")
        assert "Could not locate class 'Unknown'" in refused(tmp_path / f"{name}.keras")


def test_a_network_deeper_than_pythons_recursion_limit_opens(tmp_path):
    """Keras traverses a model recursively, with a frame per layer; a ResNet-1001 has 3,000 layers."""
    limit = sys.getrecursionlimit()
    try:
        x = image = keras.Input((1,))
        for _ in range(400):
            x = keras.layers.Activation("linear")(x)
        keras.Model(image, x).save(tmp_path / "deep.keras")
        sys.setrecursionlimit(400)
        assert len(saving.load(tmp_path / "deep.keras")[0].layers) == 401
    finally:
        sys.setrecursionlimit(limit)


def test_a_network_of_the_package_opens_without_its_optimizer(tmp_path):
    model = ResNet20(input_shape=(8, 8, 1), width=0.25, shortcut="B")
    saving.save(model, tmp_path / "model.keras", {})
    image = np.random.default_rng(0).random((2, 8, 8, 1), "float32")
    loaded, _ = saving.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(image, verbose=0), model.predict(image, verbose=0))
