"""Class names and identifiers, in the order of the networks' outputs."""

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


def test_sets_in_memory_have_names_but_no_identifiers():
    assert class_names("cifar10")[:3] == ("airplane", "automobile", "bird")
    assert len(class_names("cifar100")) == 100
    assert class_ids("cifar10") is None


def test_model_files_have_names_and_identifiers_of_imagenets_classes_and_names_of_others():
    ids = ["n15075141", "n01440764"]
    assert class_info(ids) == {"class_names": ["toilet tissue", "tench"], "class_ids": ids}
    for others in (["tench", "goldfish"], [*ids, "n00000000"]):
        assert class_info(others) == {"class_names": others}


def test_an_unknown_set_is_refused():
    with pytest.raises(DataError, match=r"`name` must be 'imagenet', 'digits', 'cifar10', .* Received: 'imagenet21k'"):
        class_names("imagenet21k")
