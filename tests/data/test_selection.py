"""Which images a process, a subset or a sample gets."""

import itertools

import numpy as np
import pytest

from keras_resnet.data import load
from keras_resnet.data.hold_out import evenly_spaced, fixed_subset, hold_out
from keras_resnet.data.sharding import share_of


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_processes_share_a_batch_smaller_than_usual_without_gaps(processes):
    """As of a data set that is smaller than a batch: each image belongs to one process, and no share is empty."""
    for count in range(processes, 20):
        parts = [np.arange(count)[share_of(count, (process, processes))] for process in range(processes)]
        assert np.concatenate(parts).tolist() == list(range(count))
        assert {len(part) for part in parts} <= {count // processes, -(-count // processes)}


def test_evenly_spaced_images_are_the_nearest_to_equal_distances():
    """Four of 11 are a distance of 3 1/3 apart, including the first and the last."""
    assert evenly_spaced(4, 11).tolist() == [0, 3, 7, 10]
    assert evenly_spaced(3, 3).tolist() == evenly_spaced(9, 3).tolist() == [0, 1, 2]
    assert evenly_spaced(1, 5).tolist() == [0]


def test_subsets_are_in_the_order_of_the_images_and_nested():
    subsets = [fixed_subset(count, 100, "a set").tolist() for count in (1, 10, 60, 100)]
    for smaller, larger in itertools.pairwise(subsets):
        assert set(smaller) < set(larger) and larger == sorted(set(larger))
    assert subsets[-1] == list(range(100))


def test_images_are_either_held_out_or_trained_on_in_their_order():
    held_out, remaining = (part.tolist() for part in hold_out(30, 100, 1, "a set"))
    assert (len(held_out), held_out, remaining) == (30, sorted(held_out), sorted(remaining))
    assert sorted(held_out + remaining) == list(range(100))
    assert held_out != hold_out(30, 100, 2, "a set")[0].tolist()  # by the seed


def test_photographs_that_are_held_out_are_in_no_subset_to_train_on(photographs):
    data = load(f"folder:{photographs}")
    some = data.hold_out(20, seed=3).take(5)
    assert (some.train_count, some.test_count) == (5, 20)
    assert not set(some.train.indices) & set(some.test.indices)
    few = data.take(10)
    split = few.hold_out(4, seed=0)
    assert (split.train_count, split.test_count) == (6, 4)
    assert {*split.train.indices, *split.test.indices} == set(few.train.indices)


def test_a_data_set_has_a_mean_of_each_size(photographs):
    data = load(f"folder:{photographs}")
    assert [data.mean("pixel", size).shape for size in (16, 24, 16)] == [(16, 16, 3), (24, 24, 3), (16, 16, 3)]
