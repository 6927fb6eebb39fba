"""Which devices are used and refused, how they are fed, and what the processes of a run do together."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import small_runs
from keras_resnet import backend
from keras_resnet.backend.devices import Devices
from keras_resnet.data import Dataset, load
from keras_resnet.training import run
from keras_resnet.training.machine import Machine
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.testing import EvaluationFeed

RUNNING = keras.backend.backend()


# CPU cores, on backends where they are not devices; for JAX, see `test_devices.py`.

if RUNNING != "jax":

    def test_all_cores_are_one_device_by_default(monkeypatch):
        if RUNNING == "tensorflow":
            import tensorflow as tf

            available = tf.config.list_logical_devices
            monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: 3 * available(kind))
        assert backend.devices(cores_as_devices=True).for_batch(32).replicas == 1


@pytest.mark.parametrize(
    ("choices", "machine", "expected"),
    [
        ({"dataset": "cifar10"}, {}, True),
        ({"dataset": "cifar10", "model": "resnet164"}, {}, False),  # most of its time goes into 1x1 convolutions
        ({"dataset": "digits"}, {}, False),
        ({"dataset": "folder:photos", "model": "resnet18"}, {}, True),
        ({"dataset": "folder:photos", "model": "resnet18", "size": 16}, {}, False),
        ({"dataset": "cifar10"}, {"images_on_device": True}, False),
        ({"dataset": "cifar10"}, {"steps_per_execution": 2}, False),
    ],
    ids=str,
)
def test_cores_are_devices_for_basic_units_and_images_that_are_not_tiny(choices, machine, expected):
    assert run._cores_as_devices(recipe_for(**choices), Machine(**machine)) == expected


# What is refused


def test_a_batch_that_the_devices_do_not_divide_is_refused_with_a_remedy():
    Devices(replicas=4).check_batch(32)
    with pytest.raises(ValueError, match=r"batch of 30 images cannot be divided over 4 devices.* a multiple of 4"):
        Devices(replicas=4).check_batch(30)


class Numbers(keras.utils.PyDataset):
    """Six test batches, in which every pixel is the number of the batch."""

    def __init__(self, workers):
        super().__init__(workers=workers)
        self.batches = [(np.full((4, 2), number, "uint8"), np.eye(4, dtype="float32")) for number in range(6)]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def test_every_batch_is_fed_once_in_order_and_without_autotuning():
    """The iterator of an autotuned tf.data set may wait for its tuning thread for up to a minute when it is dropped."""
    started = []

    def batches():
        started.append(True)
        yield from tested.batches

    devices, tested = backend.devices(1), Numbers(workers=1)
    fed, fed_test = devices.feed(batches), devices.feed_test(tested)
    assert [int(np.asarray(images)[0, 0]) for images, _ in fed] == list(range(6))
    assert len(started) == 1, "a stream was started only to inspect it"
    for _ in range(2):
        assert [int(np.asarray(images)[0, 0]) for images, _ in fed_test] == list(range(6))
    if RUNNING == "tensorflow":
        assert [data.options().autotune.enabled for data in (fed, fed_test)] == [False, False]
        assert int(fed_test.cardinality()) == 6
    by_threads = Numbers(workers=2)
    assert devices.feed_test(by_threads) is by_threads, "Keras prepares its batches in threads, without autotuning"


def test_more_devices_than_available_are_refused():
    with pytest.raises(ValueError, match="torchrun --nproc-per-node 99" if RUNNING == "torch" else "from 1 to the 1"):
        backend.devices(99)


def test_an_unsupported_launcher_is_refused_with_the_backend_that_supports_it(monkeypatch):
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


def test_loops_and_accumulation_are_refused_on_devices_that_do_not_support_them(tmp_path, monkeypatch):
    """TensorFlow's devices cannot synchronise within loops and conditions."""

    class Limited(Devices):
        supports_loops = supports_accumulation = False

    monkeypatch.setattr(backend, "devices", lambda count, cores_as_devices: Limited(replicas=2))
    with pytest.raises(ValueError, match=r"`loop_units` needs a single device on this backend. Received: 2 devices"):
        run.train(small_runs.small_recipe(), tmp_path / "run", machine=Machine(loop_units=True))
    with pytest.raises(ValueError, match=r"`accumulate` needs a single device on this backend. Received: 2 devices"):
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
    {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # set in every pod
    {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"},  # in an allocation, but not started by srun
    {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
]


@pytest.mark.parametrize("environment", NO_LAUNCHES, ids=str)
def test_a_single_process_in_a_cluster_trains_alone(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert backend.devices().processes == 1


if RUNNING == "jax":
    from keras_resnet.backend.jax_devices import launched

    @pytest.mark.parametrize(
        ("environment", "several"), [(each, True) for each in LAUNCHES] + [(each, False) for each in NO_LAUNCHES]
    )
    def test_the_environment_decides_whether_there_are_other_processes(monkeypatch, environment, several):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert launched() == several


# What the processes of a run do together


class OneOfTwo(Devices):
    """One process of two; the texts that the other one gathers are given."""

    def __init__(self, process, *others):
        super().__init__(processes=2, process=process, replicas=2)
        self.others, self.gathered = list(others), []

    def gather(self, text):
        self.gathered.append(text)
        return [text, self.others.pop(0)][:: -1 if self.process else 1]


def test_an_error_in_one_process_is_raised_in_the_other():
    failing, other = OneOfTwo(0, ""), OneOfTwo(1, "no such folder")
    with pytest.raises(OSError, match="no such folder"), failing.fail_together():
        raise OSError("no such folder")
    assert failing.gathered == ["no such folder"]
    with pytest.raises(ValueError, match="no such folder"), other.fail_together():
        pass


def test_the_chief_works_first():
    calls = []
    assert OneOfTwo(0, "", "").chief_first(lambda: calls.append("chief") or 1) == 1
    with pytest.raises(ValueError, match="no such folder"):
        OneOfTwo(1, "no such folder").chief_first(lambda: calls.append("other"))
    assert calls == ["chief"]


def test_processes_that_see_different_checkpoints_are_refused(tmp_path):
    folder, networks = run.RunFolder(tmp_path), run.Networks(*3 * [keras.Model(x := keras.Input((1,)), x)])
    folder.restore = lambda model, seeds, say: run.Progress([{}, {}])
    context = run.RunContext(SimpleNamespace(devices=OneOfTwo(0, "", "epoch 0")), folder, None)
    with pytest.raises(ValueError, match=r"after epoch 2, epoch 0\. Choose a folder with --out that all of them share"):
        run.resume(context, networks)


@pytest.mark.parametrize(("count", "batch"), [(53, 20), (1, 20), (40, 20), (7, 500)])
def test_the_shares_of_the_processes_cover_all_test_images_and_their_weights_give_the_mean(count, batch):
    data = Dataset("digits", np.zeros((1, 1)), np.zeros(1), np.arange(count)[:, None], np.arange(count), range(count))
    shares = [EvaluationFeed(data, Devices(2, process, 4), batch) for process in (0, 1)]
    shares = [[share[index] for index in range(len(share))] for share in shares]
    assert {2 * len(images) % 4 for share in shares for images, *_ in share} == {0}
    parts = [list(zip(*share, strict=True)) for share in shares]
    image, label, weight = (np.concatenate([*one, *other]) for one, other in zip(*parts, strict=True))
    assert sorted(image[weight > 0].ravel()) == list(range(count))
    assert (label[weight > 0].argmax(axis=1) == image[weight > 0].ravel()).all()
    np.testing.assert_allclose(weight.mean(), 1, rtol=1e-6)
    assert len(image) < count + max(4, min(batch, count + 4))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_test_loss_is_the_mean_over_the_photographs_that_can_be_decoded(album, threads):
    """16 of 17, also in a second test; in one before, another could not be read."""
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    tested = EvaluationFeed(load(f"folder:{album}"), Devices(), 5, threads=threads, size=32, resize=36)
    tested._tested[3] = 1
    images, labels, weights = (
        np.concatenate(part) for part in zip(*(tested[index] for index in range(4)), strict=True)
    )
    logits = np.asarray(model.predict(images, verbose=0), "float64")
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - (logits * labels).sum(axis=1)
    for _ in range(2):
        loss = model.evaluate(tested, steps=4, verbose=0)
        assert tested.mean_loss(loss) == pytest.approx(losses[weights > 0].mean(), rel=1e-5)
        assert tested.tested() == (weights > 0).sum() == 16


@pytest.mark.parametrize("threads", [1, 3])
def test_repeated_batches_are_all_batches_over_and_over(threads):
    data = Dataset("digits", np.zeros((1, 1)), np.zeros(1), np.arange(50)[:, None], np.arange(50), range(50))
    tested = EvaluationFeed(data, Devices(replicas=2), 20, threads=threads)
    repeated = tested.repeated()
    batches = [next(repeated) for _ in range(7)]
    one_pass = [np.arange(20), np.arange(20, 40), np.arange(40, 50)]
    for (images, labels, weights), expected in zip(batches, [*one_pass, *one_pass, one_pass[0]], strict=True):
        assert list(images[weights > 0].ravel()) == list(labels[weights > 0].argmax(axis=1)) == list(expected)


if RUNNING == "tensorflow":
    TWO_MASKS = """
import tensorflow as tf
one, each = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(one, [each] * 2)
import keras
from keras_resnet import backend
devices = backend.devices(2)
with devices.scope():
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5)])
    model.compile("sgd")
    devices.prepare(model, model)
    strategy = tf.distribute.get_strategy()
step = tf.function(lambda: strategy.run(lambda: model(tf.ones((4, 64)), training=True)))
for _ in range(2):
    one, other = strategy.experimental_local_results(step())
    print(bool(tf.reduce_all(one == other)))
"""

    def test_each_device_draws_masks_of_its_own():
        """The masks of two devices differ, also at the second step, after Keras has counted the first."""
        done = subprocess.run([sys.executable, "-c", TWO_MASKS], capture_output=True, text=True)
        assert done.stdout.split() == ["False", "False"], done.stderr
