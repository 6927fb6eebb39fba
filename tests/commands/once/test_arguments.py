"""What a command is given arrives where it is used, and what is stored with a network too."""

from __future__ import annotations

import inspect
import json
import sys

import pytest

from keras_resnet.evaluation import evaluate, extraction, latency, prediction, report
from keras_resnet.weights import conversion

STORED = {"view": {"size": 64, "resize": 73}, "class_names": ["ant", "bee"]}


@pytest.fixture
def received(monkeypatch):
    """Replaces a library's function by one that returns a given value; returns the arguments of its calls."""

    def replace(module, name, value):
        signature, calls = inspect.signature(getattr(module, name)), []

        def record(*arguments, **options):
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            calls.append(dict(bound.arguments))
            return value

        monkeypatch.setattr(module, name, record)
        return calls

    monkeypatch.setattr("keras_resnet.saving.load", lambda path: (f"the network of {path}", STORED))
    return replace


def test_a_network_predicts_with_the_view_and_the_class_names_that_are_stored_with_it(command, received):
    row = {"class": 1, "name": "bee", "probability": 0.625}
    calls = received(prediction, "predict", [{"image": "a.jpg", "classes": [row]}])
    assert command("predict net.keras photos --top 3 --explain why") == (0, "a.jpg: bee 62.5 %\n", "")
    (call,) = calls
    assert call == {
        "model": "the network of net.keras",
        "source": "photos",
        "class_names": ["ant", "bee"],
        "top": 3,
        "view": STORED["view"],
        "explain": "why",
        "verbose": 0,
    }
    command("predict net.keras photos")
    assert (calls[1]["top"], calls[1]["explain"]) == (5, None)


def test_features_are_those_of_the_view_that_is_stored_with_a_network(command, received):
    result = {"out": "out.npz", "images": 1200, "features": {"stem": 16, "pooled": 2048}, "errors": []}
    calls = received(extraction, "extract", result)
    status, out, err = command("features net.keras photos out.npz --taps stem,pooled")
    assert (status, out, err) == (0, "1,200 images, 16 of stem, 2,048 of pooled: out.npz\n", "")
    command("features net.keras photos out.npy")
    assert [call["taps"] for call in calls] == [("stem", "pooled"), None]
    for call in calls:
        assert (call["model"], call["source"], call["view"]) == ("the network of net.keras", "photos", STORED["view"])
    assert [call["out"] for call in calls] == ["out.npz", "out.npy"]


def scored(model, **changes):
    """The result of an evaluation."""
    classes = [{"name": name, "accuracy": accuracy} for name, accuracy in zip("abcd", (90, 20, 95.5, 60), strict=True)]
    return {
        "model": model,
        "images": 2000,
        "wrong": 500,
        "bad": 0,
        "error": 25.0,
        "error_interval": [23.16, 26.94],
        "top5_error": 5.0,
        "top5_error_interval": [4.13, 6.04],
        "images_per_second": 1234.5,
        "calibration": {"expected_calibration_error": 3.25, "negative_log_likelihood": 0.875},
        "classes": classes,
        **changes,
    }


def test_evaluate_tests_as_requested_and_prints_each_number_under_its_name(command, received):
    result = scored("one + two", members=[scored("one", bad=3, images_per_second=4.56), scored("two", wrong=600)])
    calls = received(evaluate, "evaluate", evaluate.Evaluation(result, None, []))
    written = received(report, "write_report", [])
    status, out, err = command(
        "evaluate one two folder:photos --split train --data-dir sets --batch-size 7 --scales 224,256 --out there"
    )
    assert (status, err) == (0, "")
    (call,) = calls
    assert (call["models"], call["dataset"], call["data_dir"]) == (["one", "two"], "folder:photos", "sets")
    assert (call["split"], call["batch_size"], call["views"].scales) == ("train", 7, (224, 256))
    errors = "top-1 error 25.00 % (23.16 to 26.94), top-5 error 5.00 % (4.13 to 6.04)"
    assert out.splitlines() == [
        f"one: 2,000 images, 3 unreadable, 500 wrong: {errors}; 4.6 images/s",
        f"two: 2,000 images, 600 wrong: {errors}; 1,234 images/s",
        f"one + two: 2,000 images, 500 wrong: {errors}; 1,234 images/s",
        "Most often wrong: b 80.0 %, d 40.0 %, a 10.0 %",
        "Expected calibration error 3.25 %, negative log-likelihood 0.875",
        "Written to there/: ",
    ]
    assert [str(call["folder"]) for call in written] == ["there"]
    command("evaluate one folder:photos --out there")
    assert (calls[1]["split"], calls[1]["batch_size"], calls[1]["data_dir"]) == ("test", None, None)


@pytest.mark.parametrize(
    ("accuracies", "line"),
    [((100, 20, 100, 100), "Most often wrong: b 80.0 %"), ((100, 100, 100, 100), "Written to there/: ")],
)
def test_a_class_that_is_always_right_is_not_among_those_most_often_wrong(command, received, accuracies, line):
    classes = [{"name": name, "accuracy": accuracy} for name, accuracy in zip("abcd", accuracies, strict=True)]
    result = scored("one", classes=classes, calibration=None)
    received(evaluate, "evaluate", evaluate.Evaluation(result, None, []))
    received(report, "write_report", [])
    assert command("evaluate one folder:photos --out there")[1].splitlines()[1] == line


def test_convert_passes_on_the_changes_to_the_network_and_the_normalisation(command, received):
    result = {
        **{"model": "resnet18", "tensors": 122, "source": "w.pth", "parameters": 11_689_512, "classes": 2},
        **{"labels": 0, "out": "out.keras", "channels": 3, "normalization": None},
    }
    calls = received(conversion, "convert", result)
    known = "--mean 0.1,0.2,0.3 --deviation 0.4,0.5,0.6 --labels cifar10"
    status, out, err = command(f"convert w.pth out.keras --model resnet18 {known} --stride-on 3x3")
    assert (status, err) == (0, "")
    (call,) = calls
    assert (call["source"], call["out"], call["model"], call["to"]) == ("w.pth", "out.keras", "resnet18", "keras")
    assert (call["mean"], call["deviation"]) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (call["class_labels"], call["choices"]) == ("cifar10", {"stride_on": "3x3"})
    assert out.splitlines() == [
        "resnet18: 122 tensors of w.pth, all used, none missing; 11,689,512 parameters, 2 classes without names",
        "out.keras takes images normalised as in the training of the weights, which is not known (see --mean, "
        "--deviation)",
    ]


def test_the_network_that_is_timed_is_the_one_in_its_row_of_the_table(command, monkeypatch):
    """With all changes, and for images and classes as in the rest of the row."""
    timed = []

    def measure(model):
        timed.append((model.name, model.input_shape, model.output_shape, model.count_params()))
        return 1.23456

    monkeypatch.setattr(latency, "latency", measure)
    line = "summary resnet8 resnet14 --width 0.5 --shortcut B --image-size 16 --classes 7 --json"
    rows = json.loads(command(f"{line} --latency")[1])
    assert [row["latency"] for row in rows] == [1.235, 1.235]
    assert [name for name, *_ in timed] == ["resnet8", "resnet14"]
    for row, (_, shape, outputs, parameters) in zip(rows, timed, strict=True):
        assert (shape, outputs) == ((None, 16, 16, 3), (None, 7))
        # Moving averages of batch norm are no parameters of the table.
        assert row["parameters"] < parameters < 1.05 * row["parameters"]
    assert json.loads(command(line)[1]) == [{k: v for k, v in row.items() if k != "latency"} for row in rows]


@pytest.mark.parametrize(("terminal", "json_option", "bar"), [(True, "", 1), (True, "--json", 0), (False, "", 0)])
def test_there_is_a_progress_bar_on_a_terminal_unless_a_program_reads(
    command, received, monkeypatch, terminal, json_option, bar
):
    calls = received(prediction, "predict", [])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    command(f"predict net.keras photos {json_option}")
    assert calls[0]["verbose"] == bar


def test_a_summary_is_for_the_given_classes_and_image_size(command):
    """ResNet-20 has a dense layer of 64 inputs; all other multiply-adds grow with the area of the images."""
    (row,) = json.loads(command("summary resnet20 --classes 100 --image-size 64 --json")[1])
    assert row["parameters"] == 269_722 + 90 * 65
    assert row["macs"] == 4 * (40_551_040 - 640) + 6400


def test_what_is_printed_during_a_conversion_is_not_part_of_its_report(command, monkeypatch):
    """Keras prints the progress of its downloads to stdout."""
    monkeypatch.setattr(conversion, "convert", lambda *_, **__: print("Downloading data") or {"model": "resnet50"})
    status, out, err = command("convert imagenet out.keras --model resnet50 --json")
    assert (status, json.loads(out)) == (0, {"model": "resnet50"})
    assert "Downloading data" in err
