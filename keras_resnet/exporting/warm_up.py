"""Warm-up requests, which TensorFlow Serving runs before a model is ready, so that the first real request is fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from .formats import need

FILE = "assets.extra/tf_serving_warmup_requests"


def write_requests(
    folder: Path, batch_sizes: Sequence[int], shape: tuple[int, int, int], default_signature: str
) -> None:
    """Writes requests of each batch size for the default signature and for "images".

    Args:
        folder: the folder of the SavedModel.
        batch_sizes: batch sizes of the requests.
        shape: (height, width, channels) of the images.
        default_signature: "image_bytes", which takes JPEG files, or "images".

    Raises:
        ValueError: tensorflow-serving-api is not installed.
    """
    need("tensorflow_serving", "Warm-up requests, which --warm-up none leaves out, need")
    from tensorflow_serving.apis.model_pb2 import ModelSpec
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

    grey = np.full(shape, 127, np.uint8)
    example = {"images": grey.astype(np.float32)}
    if default_signature == "image_bytes":
        example[default_signature] = np.array(tf.io.encode_jpeg(grey).numpy())
    inputs = {"serving_default": default_signature, "images": "images"}
    (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE)) as records:
        for batch in batch_sizes:
            for signature, name in inputs.items():
                tensor = tf.make_tensor_proto(np.stack([example[name]] * batch))
                request = PredictRequest(model_spec=ModelSpec(signature_name=signature), inputs={name: tensor})
                log = PredictionLog(predict_log=PredictLog(request=request))
                records.write(log.SerializeToString())
