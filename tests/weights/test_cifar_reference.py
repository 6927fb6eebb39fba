"""The weights of an independent PyTorch ResNet-20 whose result is known; see also `once`."""

import keras
import numpy as np

from keras_resnet import saving
from keras_resnet.data import load
from keras_resnet.weights.conversion import convert

RIGHT = 9173  # of the test set's 10,000 images, as its author's network has it


def test_its_score_is_what_its_author_says(shared, tmp_path):
    """Option A puts its zeros about the other channels there, and behind them here."""
    report = convert(shared / "references/akamaster_resnet20.th", tmp_path / "out.keras", "resnet20")
    assert (report["tensors"], report["classes"], report["labels"]) == (97, 10, 10)
    assert report["normalization"] == {"mean": [123.675, 116.28, 103.53], "deviation": [58.395, 57.12, 57.375]}
    assert saving.read_info(tmp_path / "out.keras")["class_names"][0] == "airplane"
    model = keras.saving.load_model(tmp_path / "out.keras")
    data = load("cifar10", shared / "data/tfds")
    predicted = np.argmax(model.predict(data.x_test, batch_size=500, verbose=0), axis=1)
    assert int((predicted == data.y_test).sum()) == RIGHT
