"""What a run may find in its folder when it is started again: its own state, another run, or damaged files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import small_runs
from keras_resnet import backend, saving
from keras_resnet.data import load
from keras_resnet.training.folder import RunFolder
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train


def resume(out, **choices):
    """Starts the run again; returns the lines reported to the user."""
    lines = []
    train(small_runs.small_recipe(**{**small_runs.STATEFUL, **choices}), out, say=lines.append)
    assert lines.pop() == f"Training on {backend.device()}."
    return lines


@pytest.fixture
def copied(tmp_path):
    """Copy of a finished run's folder, to be damaged."""
    return Path(shutil.copytree(small_runs.finished(), tmp_path / "run"))


def as_if_killed(folder, in_epoch):
    """Removes the files that a run killed in an epoch would not have written yet."""
    (folder / "summary.json").unlink()
    (folder / "model.keras").unlink()
    for path in (folder / "checkpoints").iterdir():
        if int(path.stem[-4:]) >= in_epoch:
            path.unlink()


def test_a_damaged_checkpoint_does_not_count_among_the_two_that_are_kept(copied, signal_in):
    as_if_killed(copied, in_epoch=5)
    newest = copied / "checkpoints" / "epoch_0004.keras"
    newest.write_bytes(newest.read_bytes()[:-1000])
    signal_in(4, 2, signal.SIGTERM)
    with pytest.raises(StoppedError):
        resume(copied)
    names = sorted(path.stem for path in newest.parent.iterdir())
    assert len(names) == 3 and names[:2] == ["epoch_0003", "epoch_0003_step_000002"], names
    signal_in(0, 0)
    resume(copied)  # writes it again, so that it counts
    assert sorted(path.stem for path in newest.parent.iterdir()) == ["epoch_0003_step_000002", "epoch_0004"]


@pytest.mark.parametrize("lost", [(), ("history.csv", "curves.png")])
def test_a_run_killed_after_its_last_epoch_only_writes_its_result(copied, lost):
    as_if_killed(copied, in_epoch=5)
    for name in lost:
        (copied / name).unlink(missing_ok=True)
    assert resume(copied) == ["Resuming after epoch 4 of 4."]
    assert small_runs.results(copied) == small_runs.results(small_runs.finished())
    assert (copied / "curves.png").is_file()


def test_a_finished_run_says_so_and_changes_no_file(copied):
    before = small_runs.files(copied)
    lines = []
    recipe = small_runs.small_recipe(**small_runs.STATEFUL, data_dir="elsewhere")  # may differ within a run
    summary = train(recipe, copied, say=lines.append)
    assert lines == [f"This run is already finished; its results are in {copied}"]
    assert summary == json.loads((copied / "summary.json").read_text())
    assert small_runs.files(copied) == before


def test_a_run_from_before_muon_can_be_resumed(copied, monkeypatch):
    as_if_killed(copied, in_epoch=4)
    newer = "optimizer", "kernel_rate", "kernel_momentum", "warmup_iterations"
    recipe = json.loads((copied / "recipe.json").read_text())
    (copied / "recipe.json").write_text(json.dumps({name: recipe[name] for name in recipe if name not in newer}))
    read_info = saving.read_info

    def read_older_info(path):
        info = read_info(path)
        return {**info, "recipe": {name: value for name, value in info["recipe"].items() if name not in newer}}

    monkeypatch.setattr(saving, "read_info", read_older_info)
    assert resume(copied) == ["Resuming after epoch 3 of 4."]
    assert small_runs.results(copied) == small_runs.results(small_runs.finished())


def test_a_folder_from_before_skips_were_in_all_units_and_scaled_from_was_kept_is_the_same_run(tmp_path):
    """The default network has changed since, so its recipe, or an option, must name the former one."""
    answers = {"mean": "pixel", "pad": 1, "flip": False, "cutout": 0}
    choices = {**small_runs.STATEFUL, "scaled_from": 16}
    recipe = small_runs.small_recipe(**choices)
    former = small_runs.small_recipe(**{**choices, "network": {**choices["network"], "skip_everywhere": False}})
    RunFolder(tmp_path).begin(former.resolve(3, answers))
    saved = json.loads((tmp_path / "recipe.json").read_text())
    saved["network"].pop("skip_everywhere")
    (tmp_path / "recipe.json").write_text(json.dumps({**saved, "scaled_from": None}))
    (tmp_path / "summary.json").write_text("{}")
    RunFolder(tmp_path).check(former.resolve(3, answers))
    RunFolder(tmp_path).check(recipe_for(str(tmp_path / "recipe.json")).resolve(3, answers))
    with pytest.raises(ValueError, match="skip_everywhere was False, is now True"):
        RunFolder(tmp_path).check(recipe.resolve(3, answers))


@pytest.fixture
def begun_on_photographs(album, tmp_path):
    """Returns a function that gives the recipe of a run on a path of the album, and the folder of such a run."""

    def resolved(path):
        data = load(f"folder:{path}")
        recipe = recipe_for(dataset=data.name, model="resnet8", epochs=1, size=32)
        return replace(recipe, fingerprint=data.fingerprint).resolve(2, data.defaults(32))

    out = RunFolder(tmp_path / "run")
    out.begin(resolved(album))
    (out.path / "summary.json").write_text("{}")
    return resolved, out


def test_a_folder_of_photographs_is_the_same_by_any_path_and_in_a_copy(
    begun_on_photographs, album, tmp_path, monkeypatch
):
    resolved, out = begun_on_photographs
    (tmp_path / "link").symlink_to(album)
    shutil.copytree(album, tmp_path / "job 2" / "photos")
    monkeypatch.chdir(album.parent)
    for path in (
        f"{album}/",
        album.name,
        f"./{album.name}/../{album.name}",
        tmp_path / "link",
        tmp_path / "job 2/photos",
    ):
        out.check(resolved(path))


@pytest.mark.parametrize("change", ["removed", "added", "renamed", "a test image"])
def test_a_run_does_not_resume_on_other_photographs(begun_on_photographs, album, tmp_path, change):
    resolved, out = begun_on_photographs
    copy = Path(shutil.copytree(album, tmp_path / "photos"))
    image = copy / "train" / "ant" / "00.jpg"
    if change in ("added", "a test image"):
        shutil.copy(image, (copy / "val" if change == "a test image" else copy / "train") / "bee" / "new.jpg")
    else:
        image.rename(image.with_suffix(".txt" if change == "removed" else ".jpeg"))
    with pytest.raises(
        ValueError, match=f"another run: the images of folder:{copy} are not those that it began with. Ch"
    ):
        out.check(resolved(copy))


def test_a_run_from_before_fingerprints_resumes_by_the_path_of_its_photographs(
    begun_on_photographs, album, tmp_path, monkeypatch
):
    resolved, out = begun_on_photographs
    saved = json.loads(out.recipe.read_text())
    del saved["fingerprint"]
    monkeypatch.chdir(album.parent)
    out.recipe.write_text(json.dumps({**saved, "dataset": f"folder:{album.name}"}))
    for path in (album.name, album, f"{album}/"):
        out.check(resolved(path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"dataset was 'folder:{album.name}', is now 'folder:{album}'"):
        out.check(resolved(album))


def test_initial_weights_are_the_same_by_any_path(tmp_path, monkeypatch):
    (tmp_path / "first").mkdir()
    (tmp_path / "link.keras").symlink_to(tmp_path / "first" / "model.keras")
    monkeypatch.chdir(tmp_path)

    def resolved(weights):
        return small_runs.small_recipe(weights=weights).resolve(3, {"mean": "weights", "pad": 1, "flip": False})

    out = RunFolder(tmp_path / "run")
    out.begin(resolved("first"))
    (out.path / "summary.json").write_text("{}")
    for path in ("first/", "first/model.keras", f"{tmp_path}/first", "run/../first", "link.keras"):
        out.check(resolved(path))
    for other in ("second", "first/epoch_0001.keras", "imagenet"):
        with pytest.raises(ValueError, match=f"weights was 'first', is now '{other}'"):
            out.check(resolved(other))


def refused(out, **choices):
    """Returns the one-line error with which a run is refused; checks that no file in the folder has changed."""
    before = {name: content for name, (_, content) in small_runs.files(out).items()}
    with pytest.raises(ValueError) as caught:
        resume(out, **choices)
    assert {name: content for name, (_, content) in small_runs.files(out).items()} == before
    assert "\n" not in str(caught.value)
    assert str(out) in str(caught.value)
    assert "--out" in str(caught.value)  # the remedy
    return str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "of Keras alone", "a byte"])
def test_damaged_checkpoints_end_in_one_clear_line(copied, damage):
    as_if_killed(copied, in_epoch=5)
    for path in (copied / "checkpoints").iterdir():
        intact = path.read_bytes()
        if damage == "a byte":
            small_runs.damage_weights(path)
        else:
            content = {"truncated": intact[: len(intact) // 2], "empty": b"", "text": b"hello"}
            path.write_bytes(content[damage] if damage in content else _without_our_member(path))
    assert "epoch_0004.keras" in refused(copied)


def _without_our_member(path):
    import io
    import zipfile

    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as other:
        for name in archive.namelist():
            if name != "keras_resnet.json":
                other.writestr(name, archive.read(name))
    return copy.getvalue()


def test_a_checkpoint_of_another_network_is_refused_even_if_every_shape_fits(tmp_path):
    """The two orders have the same layers, so Keras would load one into the other."""
    network = {**small_runs.STATEFUL["network"], "order": "relu_before_addition"}
    recipe = small_runs.small_recipe(**{**small_runs.STATEFUL, "network": network}).resolve(
        3, {"mean": "pixel", "pad": 1, "flip": False, "cutout": 0}
    )
    RunFolder(tmp_path).begin(recipe)
    shutil.copytree(small_runs.finished() / "checkpoints", tmp_path / "checkpoints")
    message = refused(tmp_path, network=network)
    assert "order was 'original', is now 'relu_before_addition'" in message


def test_a_folder_of_another_run_is_refused_with_the_differences(copied):
    message = refused(
        copied,
        learning_rate=0.2,
        network={**small_runs.STATEFUL["network"], "shortcut": "C", "skip": "identity", "skip_dropout": None},
    )
    assert "learning_rate was 0.1, is now 0.2" in message
    assert "shortcut was 'B', is now 'C'" in message
    assert "width" not in message  # is equal


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path):
    """After the holder was killed the folder is free again: the killed runs in other tests are resumed."""
    holder = subprocess.Popen(
        ["flock", str(tmp_path / ".lock"), "sh", "-c", "echo held; exec sleep 60"], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        assert "Another process trains in" in refused(tmp_path)
    finally:
        holder.kill()


def test_a_run_without_a_completed_epoch_may_be_replaced_by_another(copied):
    as_if_killed(copied, in_epoch=1)
    (copied / "history.csv").unlink()
    assert resume(copied, epochs=1, learning_rate=0.05) == []
    assert json.loads((copied / "recipe.json").read_text())["learning_rate"] == 0.05
    assert [row["epoch"] for row in small_runs.history(copied)] == ["1"]


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    assert "thesis.tex" not in refused(tmp_path)
    for text in ('{"dataset":', "[]", "\udcff"):
        (tmp_path / "recipe.json").write_text(text, errors="surrogateescape")
        assert "damaged" in refused(tmp_path)


def test_a_handwritten_recipe_is_not_overwritten(tmp_path):
    """A run would replace it by a recipe with all fields."""
    text = '{"dataset": "digits", "learning_rate": 0.05}'
    (tmp_path / "recipe.json").write_text(text)
    assert "recipe.json' was not written by a run and would be overwritten. Choose another" in refused(tmp_path)
    assert (tmp_path / "recipe.json").read_text() == text


def test_a_damaged_summary_is_reported_in_a_line(copied):
    (copied / "summary.json").write_text('{"test_error": 1')
    assert "summary.json' is damaged" in refused(copied)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(ValueError, match="is a file, not a run folder"):
        resume(path)
    assert path.read_text() == "x"
