"""Classifies photographs by TensorFlow Serving.

python client.py photo.jpg other.png                     # by REST; needs nothing but Python
python client.py photo.jpg --grpc                        # needs tensorflow-serving-api
python client.py photo.jpg --url http://host:8501 --model resnet --version 2
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Answer = dict[str, Any]  # for an image: "classes", "scores" and "valid"
BATCH = 32  # images per request, as in config/batching.config: the server refuses larger requests


def request_body(files: Sequence[bytes]) -> bytes:
    """Body of a REST `:predict` request: one instance per image; a name that ends in _bytes takes base64."""
    instances = [{"image_bytes": {"b64": base64.b64encode(file).decode()}} for file in files]
    return json.dumps({"signature_name": "serving_default", "instances": instances}).encode()


def ask_rest(url: str, model: str, version: int | None, files: Sequence[bytes], timeout: float = 60) -> list[Answer]:
    """Classifies the images by a REST request.

    Args:
        url: address of the server, such as "http://localhost:8501".
        model: the model's name.
        version: a version of it; None for the latest.
        files: the contents of image files.
        timeout: in seconds.

    Raises:
        OSError: the server does not answer, or answers with an error.
    """
    endpoint = f"{url}/v1/models/{model}" + (f"/versions/{version}" if version else "") + ":predict"
    request = urllib.request.Request(endpoint, request_body(files), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise OSError(f"{endpoint}: {error.code} {error.read().decode(errors='replace')[:500]}") from error
    except (urllib.error.URLError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"{url} does not answer: {reason}. Is the server running, and is this its address?") from error


def ask_grpc(
    address: str, model: str, version: int | None, files: Sequence[bytes], timeout: float = 60
) -> list[Answer]:
    """Classifies the images by a gRPC request, whose messages are smaller and need no base64; see `ask_rest`.

    Raises:
        OSError: the server does not answer, or answers with an error.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    request = PredictRequest(inputs={"image_bytes": tf.make_tensor_proto(list(files))})
    request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
    if version:
        request.model_spec.version.value = version
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        try:
            outputs = PredictionServiceStub(channel).Predict(request, timeout=timeout).outputs
        except grpc.RpcError as error:
            raise OSError(f"{address}: {error.details()}") from error
    arrays = {name: tf.make_ndarray(outputs[name]) for name in ("classes", "scores", "valid")}
    return [
        {"classes": [name.decode() for name in classes], "scores": scores.tolist(), "valid": bool(valid)}
        for classes, scores, valid in zip(*arrays.values(), strict=True)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the most probable classes of each photograph.

    Returns:
        The exit status: 1 if a file is not an image, 2 if the server does not answer.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--url", default="http://localhost:8501", help="address for REST [http://localhost:8501]")
    parser.add_argument(
        "--grpc", nargs="?", const="localhost:8500", metavar="ADDRESS", help="use gRPC at this address [localhost:8500]"
    )
    parser.add_argument("--model", default="resnet", help="name of the model [resnet]")
    parser.add_argument("--version", type=int, help="version of the model [the latest]")
    arguments = parser.parse_args(argv)
    try:
        files = [path.read_bytes() for path in arguments.photographs]
        ask, address = (ask_grpc, arguments.grpc) if arguments.grpc else (ask_rest, arguments.url)
        batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
        answers = [answer for batch in batches for answer in ask(address, arguments.model, arguments.version, batch)]
    except (OSError, ValueError) as error:  # ValueError: an address that is none
        print(f"client.py: error: {error}", file=sys.stderr)
        return 2
    for path, answer in zip(arguments.photographs, answers, strict=True):
        scores = zip(answer["classes"], answer["scores"], strict=True)
        classes = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores)
        print(f"{path}: {classes if answer['valid'] else 'not an image'}")
    return int(not all(answer["valid"] for answer in answers))


if __name__ == "__main__":
    sys.exit(main())
