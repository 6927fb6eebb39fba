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


def check_logits_and_the_weights_back_again(shared, folder, depth):
    """The logits of raw images, which the network normalises itself as torchvision's user does."""
    import keras
    from safetensors.numpy import load_file, save_file

    import keras_resnet
    from keras_resnet.weights.conversion import convert

    theirs = state(shared, depth)
    save_file(theirs, folder / "theirs.safetensors")
    report = convert(folder / "theirs.safetensors", folder / "ours.keras", f"resnet{depth}")
    assert report["tensors"] == sum(not key.endswith("num_batches_tracked") for key in theirs)
    model = keras.saving.load_model(folder / "ours.keras")
    expected = logits(shared, depth)
    assert np.abs(expected).max() > 0.5
    raw = (images(shared) * DEVIATION + MEAN).astype("float32")
    found = keras_resnet.features(model, ["logits"])(raw)["logits"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, atol=1e-4)

    convert(folder / "ours.keras", folder / "back.safetensors", to="torchvision")
    back = load_file(folder / "back.safetensors")
    assert back.keys() == theirs.keys()
    for key, value in theirs.items():
        assert key.endswith("num_batches_tracked") or np.array_equal(back[key], value), key


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
