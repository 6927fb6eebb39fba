"""A run on many devices, or of many processes, comes to what it comes to on one device."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

import launch
import small_runs
from keras_resnet import backend
from keras_resnet.backend.devices import Devices
from keras_resnet.data import DATASETS, Dataset
from keras_resnet.training import feed, run
from keras_resnet.training.machine import Machine
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.testing import ImagesToTest

RUNNING = keras.backend.backend()
# All that a run has but dropout, of which each device draws its own.
RECIPE = {
    **small_runs.STATEFUL,
    "network": small_runs.SMALL["network"],
    "epochs": 3,
    "weight_decay": 1e-2,  # so large that it shows if it is added once a device
    "reestimate": True,
}
TWO_DEVICES, TWO_PROCESSES = {"forced": 2}, {"processes": 2}
LAYOUTS = {"tensorflow": [TWO_DEVICES], "jax": [TWO_DEVICES, TWO_PROCESSES], "torch": [TWO_PROCESSES]}[RUNNING]
TOLERANCE = 1e-4  # relative, of a loss; measured: 1e-6


@dataclass
class Ran:
    """A run in two parts: two devices or two processes."""

    layout: dict[str, int]
    command: list[str]
    out: Path
    written: list[tuple[int, str, str]]  # status, stdout and stderr, of each process
    weights: list[dict[str, np.ndarray]]


def in_parts(folder, layout, machine=None, choices=RECIPE, **changes):
    """Trains with half of every batch on either of two devices. If one process is killed, so is the other."""
    recipe = folder / "given.json"
    recipe.write_text(json.dumps(choices))
    command = ["train", "--recipe", str(recipe), "--out", str(folder / "run"), "--json"]
    command += ["--devices", "2"] if "forced" in layout else []
    command += [f"--{name.replace('_', '-')}={value}" for name, value in (machine or {}).items()]
    with launch.started(*command, weights=folder / "weights", **layout, **changes) as running:
        if running[-1].wait(timeout=600) == -signal.SIGKILL:
            running[0].kill()
        written = launch.ended(running)
    weights = [dict(np.load(path)) for path in sorted(folder.glob("weights*.npz"))]
    return Ran(layout, command, folder / "run", written, weights)


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: "two " + "".join(layout))
def ran(request, tmp_path_factory):
    ran = in_parts(tmp_path_factory.mktemp("parts"), request.param)
    assert [status for status, *_ in ran.written] == [0] * request.param.get("processes", 1), ran.written
    return ran


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same run on one device."""
    return whole(tmp_path_factory.mktemp("alone"), RECIPE)


def whole(out, choices):
    """Trains on one device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", small_runs.few_digits())
        patch.setattr(feed, "TEST_BATCH", 20)
        run.train(small_runs.small_recipe(**choices), out, say=lambda line: None)
    return out


def test_the_curves_are_those_of_one_device(ran, alone):
    images = {"train": 96, "test": small_runs.TESTED}
    rows = small_runs.history(ran.out)
    assert len(rows) == 3
    for row, expected in zip(rows, small_runs.history(alone), strict=True):
        assert row["learning_rate"] == expected["learning_rate"]  # the warm-up ended at the same step
        for split, count in images.items():
            assert float(row[f"{split}_loss"]) == pytest.approx(float(expected[f"{split}_loss"]), rel=TOLERANCE)
            one_image = 100 / count
            assert float(row[f"{split}_error"]) == pytest.approx(
                float(expected[f"{split}_error"]), abs=1.01 * one_image
            )


def test_every_image_counts_once_in_the_error(ran):
    """53 images in batches of 20 for 2 devices: some are tested twice, and counted once."""
    for row in small_runs.history(ran.out):
        for split, count in {"train": 96, "test": small_runs.TESTED}.items():
            wrong = float(row[f"{split}_error"]) / 100 * count
            assert wrong == pytest.approx(round(wrong), abs=1e-4)
    summary = json.loads((ran.out / "summary.json").read_text())
    _, _, images, labels = small_runs.few_digits().read(None)
    scores = keras.saving.load_model(ran.out / "model.keras").predict(images.astype("float32"), verbose=0)
    assert summary["test_error"] == pytest.approx(100 * np.mean(scores.argmax(axis=1) != labels), abs=1e-3)
    assert summary["test_images"] == small_runs.TESTED


def test_the_network_is_that_of_one_device_in_stock_layers(ran, alone):
    found, expected = small_runs.arrays(ran.out / "model.keras"), small_runs.arrays(alone / "model.keras")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    last = Path("checkpoints") / "epoch_0003.keras"
    for name in ("model.keras", last):
        found, expected = (layers(small_runs.config(folder / name)) for folder in (ran.out, alone))
        assert found == expected


def test_muon_comes_to_the_network_of_one_device_too(tmp_path):
    """Once, on the last of the layouts: a kernel is made orthogonal of the whole batch's gradient."""
    choices = {**small_runs.SMALL, "optimizer": "muon", "kernel_rate": 0.05, "epochs": 1}
    ran = in_parts(tmp_path, LAYOUTS[-1], choices=choices)
    assert {status for status, *_ in ran.written} == {0}, ran.written
    found, expected = (small_runs.arrays(out / "model.keras") for out in (ran.out, whole(tmp_path / "alone", choices)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


def layers(config):
    """A model's layers, without the numbers by which Keras tells objects apart."""
    return json.loads(re.sub(r', "shared_object_id": \d+', "", config))["config"]["layers"]


def test_every_process_has_the_same_weights(ran):
    assert len(ran.weights) == ran.layout.get("processes", 1)
    for weights in ran.weights[1:]:
        assert weights.keys() == ran.weights[0].keys()
        assert all(np.array_equal(weights[name], value) for name, value in ran.weights[0].items())


def test_one_process_alone_writes_and_speaks(ran):
    (_, stdout, stderr), *others = ran.written
    summary = json.loads(stdout)
    assert summary == json.loads((ran.out / "summary.json").read_text())
    assert (summary["devices"], summary["processes"]) == (2, ran.layout.get("processes", 1))
    assert all(line.startswith(("Epoch ", "3/3 ")) for line in stderr.splitlines()), stderr
    assert [text for _, *text in others] == [["", ""]] * len(others)
    names = ["epoch_0002.keras", "epoch_0003.keras", "history.csv", "curves.png", "model.keras", "recipe.json"]
    assert sorted(path.name for path in ran.out.rglob("*") if path.is_file()) == sorted(
        [".lock", *names, "summary.json"]
    )
    assert "devices" not in json.loads((ran.out / "recipe.json").read_text())


if TWO_PROCESSES in LAYOUTS:  # TensorFlow trains in one

    @pytest.mark.parametrize("ran", [TWO_PROCESSES], indirect=True)
    def test_a_run_that_one_process_stops_and_one_is_killed_in_goes_on_as_if_nothing_had_been(ran, tmp_path):
        """All stop where one is asked to; and when one is lost, a scheduler starts all of them again."""
        every_step = {"save_every": 1e-9}
        stopped = in_parts(tmp_path, ran.layout, machine=every_step, signal=(1, 2, signal.SIGTERM))
        assert [status for status, *_ in stopped.written] == [75, 75], stopped.written
        assert "SIGTERM came, and the run is saved behind epoch 0 and 2 steps" in stopped.written[0][2]
        killed = in_parts(tmp_path, ran.layout, machine=every_step, signal=(2, 3, signal.SIGKILL))
        assert killed.written[0][2].startswith("Going on behind epoch 0 and 2 steps of 3.\n")
        resumed = in_parts(tmp_path, ran.layout)
        assert [status for status, *_ in resumed.written] == [0] * len(ran.written), resumed.written
        assert resumed.written[0][2].startswith("Going on behind epoch 1 and 2 steps of 3.\n")
        assert small_runs.results(resumed.out) == small_runs.results(ran.out)


# Cores that nobody asked for


def test_a_core_each_is_a_device_where_one_alone_would_compute_and_as_many_as_divide_a_batch(tmp_path):
    """Of three cores two take 16 of 32 images each, on JAX; at most as many as there are eight images for."""
    words = ["train", "digits", "--model", "resnet8", "--epochs", "1", "--batch-size", "32", "--json"]
    forced = {"forced": 3} if RUNNING != "torch" else {}
    out = str(tmp_path / "run")
    with launch.started(*words, "--out", out, **forced, side=32, weights=tmp_path / "weights") as running:
        ((status, stdout, stderr),) = launch.ended(running)
    assert status == 0, stderr
    assert json.loads(stdout)["devices"] == (2 if RUNNING == "jax" else 1)


@pytest.mark.parametrize(
    ("choices", "machine", "worth_it"),
    [
        ({"dataset": "cifar10"}, {}, True),
        ({"dataset": "cifar10", "model": "resnet164"}, {}, False),  # most of whose time is in 1x1 convolutions
        ({"dataset": "digits"}, {}, False),
        ({"dataset": "folder:photos", "model": "resnet18"}, {}, True),
        ({"dataset": "folder:photos", "model": "resnet18", "size": 16}, {}, False),
        ({"dataset": "cifar10"}, {"images_on_device": True}, False),
        ({"dataset": "cifar10"}, {"steps_per_execution": 2}, False),
    ],
    ids=str,
)
def test_cores_are_taken_for_basic_units_and_images_that_are_not_tiny(choices, machine, worth_it):
    assert run._spreads(recipe_for(**choices), Machine(**machine)) == worth_it


# What cannot be done


def test_a_batch_that_the_devices_do_not_divide_is_refused_with_what_would_do():
    Devices(replicas=4).check_batch(32)
    with pytest.raises(ValueError, match=r"batch of 30 images cannot be divided over 4 devices.* a multiple of 4"):
        Devices(replicas=4).check_batch(30)


class Numbers(keras.utils.PyDataset):
    """Six batches to test on, of which each image is its batch's number."""

    def __init__(self, workers):
        super().__init__(workers=workers)
        self.batches = [(np.full((4, 2), number, "uint8"), np.eye(4, dtype="float32")) for number in range(6)]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def test_every_batch_is_fed_once_in_its_order_and_by_no_data_set_that_tunes_itself():
    """Whose iterator, where it is dropped, may wait for the thread that tunes it, for up to a minute."""
    started = []

    def batches():
        started.append(True)
        yield from tested.batches

    devices, tested = backend.devices(1), Numbers(workers=1)
    fed, fed_test = devices.feed(batches), devices.feed_test(tested)
    assert [int(np.asarray(images)[0, 0]) for images, _ in fed] == list(range(6))
    assert len(started) == 1, "a stream that was begun only to look at it"
    for _ in range(2):
        assert [int(np.asarray(images)[0, 0]) for images, _ in fed_test] == list(range(6))
    if RUNNING == "tensorflow":
        assert [data.options().autotune.enabled for data in (fed, fed_test)] == [False, False]
        assert int(fed_test.cardinality()) == 6
    by_threads = Numbers(workers=2)
    assert devices.feed_test(by_threads) is by_threads, "Keras has threads make its batches, and does not tune either"


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(ValueError, match="torchrun --nproc-per-node 99" if RUNNING == "torch" else "from 1 to the 1"):
        backend.devices(99)


def test_a_launch_that_this_backend_cannot_answer_names_what_can(monkeypatch):
    if RUNNING == "tensorflow":
        cluster = {"cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:1"]}, "task": {"type": "worker", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
        with pytest.raises(ValueError, match=r"TF_CONFIG names 2 workers.* --backend jax, or --backend torch"):
            backend.devices()
        monkeypatch.delenv("TF_CONFIG")
    if RUNNING != "torch":
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match=rf"torchrun starts .* is '{RUNNING}'. Add --backend torch"):
            backend.devices()
        monkeypatch.setenv("WORLD_SIZE", "1")
    assert backend.devices().replicas == 1


def test_what_devices_cannot_wait_for_one_another_in_is_refused(tmp_path, monkeypatch):
    """Loops and conditions, in which TensorFlow's cannot."""

    class Straight(Devices):
        loops = accumulates = False

    monkeypatch.setattr(backend, "devices", lambda count, spread: Straight(replicas=2))
    with pytest.raises(ValueError, match=r"`loop_units` works on one device on this backend. Received: 2 devices"):
        run.train(small_runs.small_recipe(), tmp_path / "run", machine=Machine(loop_units=True))
    with pytest.raises(ValueError, match=r"`accumulate` works on one device on this backend. Received: 2 devices"):
        run.train(small_runs.small_recipe(accumulate=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


LAUNCHES = [
    {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"},
    {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1"},
    {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"},
    {"OMPI_COMM_WORLD_SIZE": "2"},
]
NO_LAUNCHES = [
    {},
    {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # every pod has it
    {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"},  # in an allocation, but not started by srun
    {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
]


@pytest.mark.parametrize(
    ("environment", "several"),
    [(each, True) for each in LAUNCHES] + [(each, False) for each in NO_LAUNCHES]
    if RUNNING == "jax"
    else [({}, False)],
)
def test_the_environment_alone_tells_whether_there_are_other_processes(monkeypatch, environment, several):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if RUNNING == "jax":
        from keras_resnet.backend.jax import launched

        assert launched() == several
    else:
        assert backend.devices().processes == 1


# What every process must do alike


class OneOfTwo(Devices):
    """One process of two, the other of which says what it is told to."""

    def __init__(self, process, *others):
        super().__init__(processes=2, process=process, replicas=2)
        self.others, self.said = list(others), []

    def gather(self, text):
        self.said.append(text)
        return [text, self.others.pop(0)][:: -1 if self.process else 1]


def test_what_goes_wrong_in_one_process_is_raised_in_the_other():
    failing, other = OneOfTwo(0, ""), OneOfTwo(1, "no such folder")
    with pytest.raises(OSError, match="no such folder"), failing.agreed():
        raise OSError("no such folder")
    assert failing.said == ["no such folder"]
    with pytest.raises(ValueError, match="no such folder"), other.agreed():
        pass


def test_the_chief_works_first():
    done = []
    assert OneOfTwo(0, "", "").in_turn(lambda: done.append("by the chief") or 1) == 1
    with pytest.raises(ValueError, match="no such folder"):
        OneOfTwo(1, "no such folder").in_turn(lambda: done.append("by the other"))
    assert done == ["by the chief"]


def test_processes_that_see_different_checkpoints_are_told_of_the_folder(tmp_path):
    folder, networks = run.RunFolder(tmp_path), run.Networks(*3 * [keras.Model(x := keras.Input((1,)), x)])
    folder.restore = lambda model, seeds, say: run.Progress([{}, {}])
    with pytest.raises(
        ValueError, match=r"behind epoch 2, epoch 0\. Choose a folder with --out that all of them share"
    ):
        run.resume(networks, folder, OneOfTwo(0, "", "epoch 0"), print)


@pytest.mark.parametrize(("count", "batch"), [(53, 20), (1, 20), (40, 20), (7, 500)])
def test_shares_of_the_test_images_are_all_of_them_and_weigh_as_their_mean(count, batch):
    data = Dataset("digits", np.zeros((1, 1)), np.zeros(1), np.arange(count)[:, None], np.arange(count), range(count))
    shares = [ImagesToTest(data, Devices(2, process, 4), batch) for process in (0, 1)]
    shares = [[share[index] for index in range(len(share))] for share in shares]
    assert {2 * len(images) % 4 for share in shares for images, *_ in share} == {0}
    parts = [list(zip(*share, strict=True)) for share in shares]
    image, label, weight = (np.concatenate([*one, *other]) for one, other in zip(*parts, strict=True))
    assert sorted(image[weight > 0].ravel()) == list(range(count))
    assert (label[weight > 0].argmax(axis=1) == image[weight > 0].ravel()).all()
    np.testing.assert_allclose(weight.mean(), 1, rtol=1e-6)
    assert len(image) < count + max(4, min(batch, count + 4))


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_without_end_are_all_of_them_over_and_over(threads):
    data = Dataset("digits", np.zeros((1, 1)), np.zeros(1), np.arange(50)[:, None], np.arange(50), range(50))
    tested = ImagesToTest(data, Devices(replicas=2), 20, threads=threads)
    batches = tested.without_end()
    seen = [next(batches) for _ in range(7)]
    of_one_pass = [np.arange(20), np.arange(20, 40), np.arange(40, 50)]
    for (images, labels, weights), expected in zip(seen, [*of_one_pass, *of_one_pass, of_one_pass[0]], strict=True):
        assert list(images[weights > 0].ravel()) == list(labels[weights > 0].argmax(axis=1)) == list(expected)
