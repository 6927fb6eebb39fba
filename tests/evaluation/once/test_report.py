"""The folder that a test leaves."""

from __future__ import annotations

import csv
import hashlib
import json

import cv2
import numpy as np
import pytest

from keras_resnet import saving
from keras_resnet.data import whole_path
from keras_resnet.evaluation import scores
from keras_resnet.evaluation.evaluate import Evaluation, View
from keras_resnet.evaluation.report import default_folder, write_report


def evaluation(classes, tested=None, rows=None):
    """A test of random probabilities on images of the first classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, tested or classes, 400)
    probabilities = rng.dirichlet(np.ones(classes), 400) if rows is None else np.resize(rows, (400, classes))
    names = [f"class {number}" for number in range(classes)]
    confusion = scores.confusion(probabilities, labels)
    result = {
        "model": "m.keras",
        "dataset": "folder:photos",
        "split": "test",
        "view": "one view",
        **scores.score(probabilities, labels),
        "classes": scores.by_class(confusion, names),
    }
    return Evaluation(result, confusion, names)


@pytest.mark.parametrize(("classes", "tested"), [(3, 3), (10, 4), (50, 50), (150, 150), (1000, 10)])
def test_the_files_hold_the_result_and_pictures_of_it(tmp_path, classes, tested):
    found = evaluation(classes, tested)
    files = write_report(found, tmp_path / "deep" / "report")
    assert [path.name for path in files] == ["result.json", "classes.csv", "confusion.png", "calibration.png"]
    assert sorted(path.name for path in (tmp_path / "deep" / "report").iterdir()) == sorted(path.name for path in files)
    assert json.loads(files[0].read_text()) == found.result
    rows = list(csv.DictReader(files[1].open()))
    assert sum(int(row["images"]) for row in rows) == 400
    assert sum(int(row["right"]) for row in rows) == 400 - found.result["wrong"]
    for path in files[2:]:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 400
        assert picture.std() > 10


def test_without_probabilities_there_is_no_picture_of_them(tmp_path):
    found = evaluation(3, rows=[5.0, 3.0, 1.0])
    assert [path.name for path in write_report(found, tmp_path)] == ["result.json", "classes.csv", "confusion.png"]


def test_the_report_lies_beside_the_model_under_the_name_of_the_test(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    result = {"dataset": "cifar10", "split": "test", "view": "one view"}
    assert default_folder(run, result) == run / "evaluation" / "cifar10-test"
    assert default_folder(run / "model.keras", result) == run / "evaluation" / "cifar10-test"
    assert default_folder(run / "x.keras", result) == run / "evaluation" / "x-cifar10-test"
    result = {"dataset": "folder:some/photos/", "split": "train", "view": "scales 224,256"}
    ensembles = [{**result, "members": [{"model": "a"}, {"model": other}]} for other in ("b", "c")]
    found = [default_folder(run, ensemble) for ensemble in ensembles]
    assert found[0] != found[1] == default_folder(run, ensembles[1])
    assert {path.name[:-8] for path in found} == {"photos-train-scales-224-256-ensemble-of-2-"}
    views = [str(View(**view)) for view in ({"size": 320}, {"size": 320, "resize": 352}, {"crops": 10, "size": 320})]
    assert [default_folder(run, {**result, "view": view}).name for view in views] == [
        "photos-train-one-view-size-320",
        "photos-train-one-view-size-320-resize-352",
        "photos-train-ten-crops-size-320",
    ]
    result = {"dataset": "imagenet2012:5.1.0", "split": "test", "view": "ten crops"}
    assert default_folder(run, result) == run / "evaluation" / "imagenet2012-5.1.0-test-ten-crops"
    result = {"dataset": "imagenet2012_subset/1pct:5.0.0", "split": "test", "view": "one view"}
    assert default_folder(run, result) == run / "evaluation" / "imagenet2012_subset-1pct-5.0.0-test"


def test_reports_of_two_folders_of_one_name_lie_side_by_side(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name / "photos").mkdir(parents=True)
    view = {"split": "test", "view": "one view"}

    def tested(dataset):
        """Where the report goes, which is written, so that it says no more than it must."""
        folder = default_folder(tmp_path, {"dataset": dataset, "dataset_path": whole_path(dataset), **view})
        saving.write_json(folder / "result.json", {"dataset": dataset, "dataset_path": whole_path(dataset), **view})
        return folder.name

    monkeypatch.chdir(tmp_path / "old")
    assert tested("folder:photos") == "photos-test"
    monkeypatch.chdir(tmp_path / "new")
    digest = hashlib.sha256(str(tmp_path / "new" / "photos").encode()).hexdigest()[:8]
    assert tested("folder:photos") == f"photos-test-{digest}"
    monkeypatch.chdir(tmp_path / "new" / "photos")
    assert tested("folder:.") == f"photos-test-{digest}"  # the same, and not hidden
    assert tested(f"folder:{tmp_path}/old/../old/photos/") == "photos-test"
    assert tested("photos").startswith("photos-test-")  # a set of that name


def test_a_report_that_does_not_say_where_its_folder_lies_or_is_damaged_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = {"dataset": "folder:photos", "dataset_path": str(tmp_path / "photos"), "split": "test", "view": "one view"}
    there = default_folder(tmp_path, result) / "result.json"
    for text in ('{"dataset": "folder:photos"}', '{"dataset": "fol', "[]", "{}"):
        saving.write_text(there, text)
        assert default_folder(tmp_path, result) == there.parent
