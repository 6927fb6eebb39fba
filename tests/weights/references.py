"""What weights are held against: torchvision's networks, seeded and beside the project, and keras.applications'."""

import importlib.util
import json

import numpy as np

MEAN, DEVIATION = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])


def _seeded(shared):
    source = importlib.util.spec_from_file_location("seeded_state_dict", shared / "references/seeded_state_dict.py")
    seeded = importlib.util.module_from_spec(source)
    source.loader.exec_module(seeded)
    return seeded


def state(shared, depth):
    shapes = json.loads((shared / f"references/torchvision/resnet{depth}.shapes.json").read_text())
    return _seeded(shared).seeded_state_dict(shapes)


def images(shared):
    """Two images, already normalised."""
    return _seeded(shared).seeded_image_batch()


def logits(shared, depth):
    return np.load(shared / f"references/torchvision/resnet{depth}.logits.npy")


def check_imagenet_weights(published, name, include_top):
    """On what `preprocess_input` makes of an image, and without it on the raw image itself."""
    import keras

    import keras_resnet

    arguments = {"include_top": include_top, **({"classifier_activation": None} if include_top else {})}
    theirs, asked = published(name, **arguments)
    raw = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    module = {"ResNet50": keras.applications.resnet, "ResNet50V2": keras.applications.resnet_v2}[name]
    prepared = module.preprocess_input(raw.copy())
    expected = keras.ops.convert_to_numpy(theirs(prepared))
    assert np.abs(expected).max() > 0.1
    network = getattr(keras_resnet, name)
    bare = network(weights="imagenet", include_preprocessing=False, **arguments)
    whole = network(weights="imagenet", **arguments)
    for model, images in ((bare, prepared), (whole, raw)):
        found = keras.ops.convert_to_numpy(model(images))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert asked == 2 * [{"include_top": include_top, "weights": "imagenet"}]
