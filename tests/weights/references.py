"""torchvision's networks beside the project: seeded state dicts, and the logits that torchvision computes of them."""

import importlib.util
import json

import numpy as np


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
