"""References for weights: torchvision's networks with seeded weights, in ../shared, and keras.applications'."""

import importlib.util
import json

import numpy as np

SMALL = {"stage_units": (2, 2), "stage_filters": (64, 128), "width": 0.125}
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
    """Two normalised images."""
    return _seeded(shared).seeded_image_batch()


def logits(shared, depth):
    return np.load(shared / f"references/torchvision/resnet{depth}.logits.npy")


def cifar10_tested(shared, count=10_000):
    """Returns the first images and labels of CIFAR-10's test set, without reading the training set, which takes 7 s."""
    import tensorflow_datasets as tfds

    source = tfds.builder("cifar10", data_dir=shared / "data/tfds").as_data_source("test")
    records = [source[key] for key in range(count)]
    return tuple(np.stack([record[feature] for record in records]) for feature in ("image", "label"))


def akamaster_logits(state, images):
    """Returns the logits of akamaster's PyTorch ResNet-20 for CIFAR-10, computed in NumPy, for normalised images.

    At the beginning of a stage, its option A takes every second pixel and pads half of the zero channels before the
    others and half after them (https://github.com/akamaster/pytorch_resnet_cifar10, resnet.py).
    """
    state = {name.removeprefix("module."): np.asarray(value, "float64") for name, value in state.items()}

    def convolved(x, name, stride=1):
        kernel = state[f"{name}.weight"]  # filters, channels, rows, columns
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, 2 * [(0, 0)] + 2 * [(1, 1)]), (3, 3), (2, 3))
        return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], kernel, optimize=True)

    def normalised(x, name):
        mean, variance, scale, offset = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + offset

    x = np.maximum(normalised(convolved(images.transpose(0, 3, 1, 2), "conv1"), "bn1"), 0)
    for stage, unit in ((stage, unit) for stage in (1, 2, 3) for unit in (0, 1, 2)):
        name, stride = f"layer{stage}.{unit}", 2 if stage > 1 and unit == 0 else 1
        inside = np.maximum(normalised(convolved(x, f"{name}.conv1", stride), f"{name}.bn1"), 0)
        added = normalised(convolved(inside, f"{name}.conv2"), f"{name}.bn2")
        zeros = (added.shape[1] - x.shape[1]) // 2
        shortcut = np.pad(x[:, :, ::stride, ::stride], [(0, 0), (zeros, zeros), (0, 0), (0, 0)])
        x = np.maximum(added + shortcut, 0)
    return x.mean(axis=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


def timm_v2_state(shared, units, filters, bottleneck=True, classes=1000):
    """Returns seeded weights with the names and shapes of timm's networks of version 2, such as `resnetv2_50`.

    Every second scale of the first batch norm is negative, so that it cannot be exchanged with the max-pooling.
    """
    shapes = {"stem.conv.weight": [filters[0], 3, 7, 7]}

    def norm(name, channels):
        shapes.update({f"{name}.{part}": [channels] for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = []

    channels = filters[0]
    for stage, (count, width) in enumerate(zip(units, filters, strict=True)):
        kernels = [(1, width), (3, width), (1, 4 * width)] if bottleneck else 2 * [(3, width)]
        for unit in range(count):
            name = f"stages.{stage}.blocks.{unit}"
            if unit == 0 and (bottleneck or stage > 0):
                shapes[f"{name}.downsample.conv.weight"] = [kernels[-1][1], channels, 1, 1]
            for number, (size, outputs) in enumerate(kernels, start=1):
                norm(f"{name}.norm{number}", channels)
                shapes[f"{name}.conv{number}.weight"] = [outputs, channels, size, size]
                channels = outputs
    norm("norm", channels)
    shapes |= {"head.fc.weight": [classes, channels, 1, 1], "head.fc.bias": [classes]}
    state = _seeded(shared).seeded_state_dict(shapes)
    state["stages.0.blocks.0.norm1.weight"][::2] *= -1
    return state


def timm_v2_logits(state, images):
    """Returns the logits of timm's network of version 2 (timm 1.0.31, models/resnetv2.py) for normalised images."""
    import torch
    from torch.nn import functional

    state = {name: torch.tensor(value) for name, value in state.items()}

    def convolved(x, name, stride=1):
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)

    def activated(x, name):
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.relu(functional.batch_norm(x, *parts))

    x = convolved(torch.tensor(images.transpose(0, 3, 1, 2)), "stem.conv", 2)
    x = functional.max_pool2d(x, 3, 2, padding=1)
    for name in dict.fromkeys(name.rpartition(".norm1")[0] for name in state if ".norm1." in name):
        kernels = [state[f"{name}.conv{n}.weight"] for n in (1, 2, 3) if f"{name}.conv{n}.weight" in state]
        strided = [kernel.shape[2] for kernel in kernels].index(3)  # the first 3x3 convolution
        begins_stage = name.endswith(".blocks.0") and not name.startswith("stages.0.")
        first = inside = activated(x, f"{name}.norm1")
        for number in range(len(kernels)):
            inside = inside if number == 0 else activated(inside, f"{name}.norm{number + 1}")
            inside = convolved(inside, f"{name}.conv{number + 1}", 2 if begins_stage and number == strided else 1)
        if f"{name}.downsample.conv.weight" in state:
            x = convolved(first, f"{name}.downsample.conv", 2 if begins_stage else 1)
        x = x + inside
    x = activated(x, "norm").mean(dim=(2, 3), keepdim=True)
    return functional.conv2d(x, state["head.fc.weight"], state["head.fc.bias"])[:, :, 0, 0].numpy()


def check_torchvision_logits(shared, folder, depth):
    """Compares the logits of raw images, which the network normalises itself as torchvision's users do.

    Returns torchvision's state dict, and the path of the `.keras` file that was converted from it.
    """
    import keras
    from safetensors.numpy import save_file

    import keras_resnet
    from comparing import QUICKER_EAGERLY
    from keras_resnet import saving
    from keras_resnet.weights.conversion import convert

    theirs, ours = state(shared, depth), folder / "ours.keras"
    save_file(theirs, folder / "theirs.safetensors")
    report = convert(folder / "theirs.safetensors", ours, f"resnet{depth}")
    assert report["tensors"] == sum(not key.endswith("num_batches_tracked") for key in theirs)
    model, _ = saving.load(ours)  # Keras's own would compile a program for each shape, to draw weights, on JAX
    expected = logits(shared, depth)
    assert np.abs(expected).max() > 0.5
    raw = (images(shared) * DEVIATION + MEAN).astype("float32")
    features = keras_resnet.features(model, ["logits"])
    compute = features if QUICKER_EAGERLY else features.predict_on_batch
    np.testing.assert_allclose(keras.ops.convert_to_numpy(compute(raw)["logits"]), expected, atol=1e-4)
    return theirs, ours


def check_imagenet_weights(published, name, include_top):
    """Compares the outputs with keras.applications', for preprocessed images and for raw images."""
    import keras

    import keras_resnet

    arguments = {"include_top": include_top, **({"classifier_activation": None} if include_top else {})}
    theirs, requests = published(name, **arguments)
    raw = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    module = {"ResNet50": keras.applications.resnet, "ResNet50V2": keras.applications.resnet_v2}[name]
    prepared = module.preprocess_input(raw.copy())
    expected = keras.ops.convert_to_numpy(theirs(prepared))
    assert np.abs(expected).max() > 0.1
    network = getattr(keras_resnet, name)
    bare = network(weights="imagenet", include_preprocessing=False, **arguments)
    whole = network(weights="imagenet", **arguments)
    for model, images in ((bare, prepared), (whole, raw)):
        actual = keras.ops.convert_to_numpy(model(images))
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    assert requests == 2 * [{"include_top": include_top, "weights": "imagenet"}]


def like_keras_applications(name="ResNet50", **arguments):
    """Returns a network like keras.applications' of this name, made by its own functions, but of the size `SMALL`."""
    from keras.src.applications import resnet

    version2 = name.endswith("V2")
    stack = resnet.stack_residual_blocks_v2 if version2 else resnet.stack_residual_blocks_v1
    strides = (2, 1) if version2 else (1, 2)

    def stages(x):
        for number, stride in enumerate(strides):
            x = stack(x, 8 * 2**number, 2, stride, f"conv{number + 2}")
        return x

    return resnet.ResNet(stages, version2, True, weights=None, name=name.lower(), **arguments)
