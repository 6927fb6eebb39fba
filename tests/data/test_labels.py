"""Classes have their names in the order of the networks' outputs."""

from importlib.resources import files

import pytest

from keras_resnet.data import DataError
from keras_resnet.data.labels import class_ids, class_info, class_names


def test_imagenets_classes_are_those_of_tensorflow_datasets_in_its_order():
    published = files("tensorflow_datasets").joinpath("datasets/imagenet2012/labels.txt").read_text().split()
    assert list(class_ids("imagenet")) == published
    assert len(class_names("imagenet")) == 1000


@pytest.mark.parametrize(
    ("number", "identifier", "name"),
    [
        (0, "n01440764", "tench"),
        (281, "n02123045", "tabby"),
        (386, "n02504458", "African elephant"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_well_known_classes_of_imagenet(number, identifier, name):
    assert (class_ids("imagenet")[number], class_names("imagenet")[number]) == (identifier, name)


def test_sets_in_memory_have_names_alone():
    assert class_names("cifar10")[:3] == ("airplane", "automobile", "bird")
    assert len(class_names("cifar100")) == 100
    assert class_ids("cifar10") is None


def test_of_imagenets_classes_a_file_tells_both_and_of_others_what_they_are_called():
    some = ["n15075141", "n01440764"]
    assert class_info(some) == {"class_names": ["toilet tissue", "tench"], "class_ids": some}
    for others in (["tench", "goldfish"], [*some, "n00000000"]):
        assert class_info(others) == {"class_names": others}


def test_another_set_is_refused_by_its_name():
    with pytest.raises(DataError, match=r"`name` must be 'imagenet', 'digits', 'cifar10', .* Received: 'imagenet21k'"):
        class_names("imagenet21k")
