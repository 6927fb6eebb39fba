"""Runs the signatures of a SavedModel: a module for tests, and a program that does not import this package.

    python saved_models.py FOLDER INPUTS.npz OUTPUTS.npz

Inputs are named "SIGNATURE/INPUT", and outputs "SIGNATURE/OUTPUT".
"""

import sys

import numpy as np

if __name__ == "__main__":  # TensorFlow imports Keras, and that imports these where it finds them, which takes seconds
    sys.modules.update(dict.fromkeys(("jax", "sklearn", "matplotlib")))

import tensorflow as tf


def outputs_of(folder, inputs):
    """Returns the outputs, as arrays by "SIGNATURE/OUTPUT", for inputs by "SIGNATURE/INPUT"."""
    model, outputs = tf.saved_model.load(str(folder)), {}
    for key in inputs:
        signature, name = key.split("/")
        values = inputs[key].tolist() if name == "image_bytes" else inputs[key]
        for output, value in model.signatures[signature](**{name: tf.constant(values)}).items():
            text = value.dtype == tf.string
            outputs[f"{signature}/{output}"] = np.char.decode(value.numpy().astype(bytes)) if text else value.numpy()
    return outputs


if __name__ == "__main__":
    folder, given, asked = sys.argv[1:]
    np.savez(asked, **outputs_of(folder, np.load(given, allow_pickle=True)))
    assert "keras_resnet" not in sys.modules
