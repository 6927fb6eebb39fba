"""The report folder of an evaluation."""

from __future__ import annotations

import csv
import hashlib
import json

import cv2
import numpy as np
import pytest

from keras_resnet.data import absolute_path
from keras_resnet.evaluation import scores
from keras_resnet.evaluation.evaluate import Evaluation
from keras_resnet.evaluation.pictures import draw_confusion
from keras_resnet.evaluation.report import default_folder, write_report
from keras_resnet.evaluation.views import Views
from keras_resnet.files import write_json, write_text


def evaluation(classes, tested=None, rows=None):
    """An evaluation of random probabilities; only the first `tested` classes have images."""
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
    scored = evaluation(classes, tested)
    files = write_report(scored, tmp_path / "deep" / "report")
    assert [path.name for path in files] == ["result.json", "classes.csv", "confusion.png", "calibration.png"]
    assert sorted(path.name for path in (tmp_path / "deep" / "report").iterdir()) == sorted(path.name for path in files)
    assert json.loads(files[0].read_text()) == scored.result
    rows = list(csv.DictReader(files[1].open()))
    assert sum(int(row["images"]) for row in rows) == 400
    assert sum(int(row["right"]) for row in rows) == 400 - scored.result["wrong"]
    for path in files[2:]:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 400
        assert picture.std() > 10


def test_the_axes_of_many_classes_have_the_numbers_of_the_classes_with_images(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr("keras_resnet.evaluation.pictures.save", lambda figure, *_: figures.append(figure))
    matrix = np.zeros((1000, 1000), int)
    tested = np.arange(5, 1000, 10)
    matrix[tested, tested] = 3
    draw_confusion(matrix, [f"class {number}" for number in range(1000)], tmp_path / "confusion.png", "100 of 1000")
    for axis in (figures[0].axes[0].xaxis, figures[0].axes[0].yaxis):
        assert [axis.get_major_formatter()(position) for position in (-1, 0, 20, 99, 100)] == [
            "",
            "5",
            "205",
            "995",
            "",
        ]


def test_without_probabilities_there_is_no_calibration_plot(tmp_path):
    scored = evaluation(3, rows=[5.0, 3.0, 1.0])
    assert [path.name for path in write_report(scored, tmp_path)] == ["result.json", "classes.csv", "confusion.png"]


def test_the_default_folder_is_beside_the_model_and_named_after_the_test(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    result = {"dataset": "cifar10", "split": "test", "view": "one view"}
    assert default_folder(run, result) == run / "evaluation" / "cifar10-test"
    assert default_folder(run / "model.keras", result) == run / "evaluation" / "cifar10-test"
    assert default_folder(run / "x.keras", result) == run / "evaluation" / "x-cifar10-test"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder(f"~/{run.name}", result) == run / "evaluation" / "cifar10-test"
    result = {"dataset": "folder:some/photos/", "split": "train", "view": "scales 224,256"}
    ensembles = [{**result, "members": [{"model": "a"}, {"model": other}]} for other in ("b", "c")]
    folders = [default_folder(run, ensemble) for ensemble in ensembles]
    assert folders[0] != folders[1] == default_folder(run, ensembles[1])
    assert {path.name[:-8] for path in folders} == {"photos-train-scales-224-256-ensemble-of-2-"}
    views = [str(Views(**view)) for view in ({"size": 320}, {"size": 320, "resize": 352}, {"crops": 10, "size": 320})]
    assert [default_folder(run, {**result, "view": view}).name for view in views] == [
        "photos-train-one-view-size-320",
        "photos-train-one-view-size-320-resize-352",
        "photos-train-ten-crops-size-320",
    ]
    result = {"dataset": "imagenet2012:5.1.0", "split": "test", "view": "ten crops"}
    assert default_folder(run, result) == run / "evaluation" / "imagenet2012-5.1.0-test-ten-crops"
    result = {"dataset": "imagenet2012_subset/1pct:5.0.0", "split": "test", "view": "one view"}
    assert default_folder(run, result) == run / "evaluation" / "imagenet2012_subset-1pct-5.0.0-test"


def test_reports_of_two_folders_of_the_same_name_have_different_folders(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name / "photos").mkdir(parents=True)
    view = {"split": "test", "view": "one view"}

    def write_minimal_report(dataset):
        """Writes the part of a report that names its data set, and returns the name of its folder."""
        folder = default_folder(tmp_path, {"dataset": dataset, "dataset_path": absolute_path(dataset), **view})
        write_json(folder / "result.json", {"dataset": dataset, "dataset_path": absolute_path(dataset), **view})
        return folder.name

    monkeypatch.chdir(tmp_path / "old")
    assert write_minimal_report("folder:photos") == "photos-test"
    monkeypatch.chdir(tmp_path / "new")
    digest = hashlib.sha256(str(tmp_path / "new" / "photos").encode()).hexdigest()[:8]
    assert write_minimal_report("folder:photos") == f"photos-test-{digest}"
    monkeypatch.chdir(tmp_path / "new" / "photos")
    assert write_minimal_report("folder:.") == f"photos-test-{digest}"  # the same folder, and a name that is not hidden
    assert write_minimal_report(f"folder:{tmp_path}/old/../old/photos/") == "photos-test"
    assert write_minimal_report("photos").startswith("photos-test-")  # a data set of that name


def test_a_report_without_the_path_of_its_data_set_or_a_damaged_one_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = {"dataset": "folder:photos", "dataset_path": str(tmp_path / "photos"), "split": "test", "view": "one view"}
    path = default_folder(tmp_path, result) / "result.json"
    for text in ('{"dataset": "folder:photos"}', '{"dataset": "fol', "[]", "{}"):
        write_text(path, text)
        assert default_folder(tmp_path, result) == path.parent
