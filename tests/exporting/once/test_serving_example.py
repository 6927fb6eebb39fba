"""examples/serving against a server that runs the SavedModel and uses the messages of TensorFlow Serving."""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import json_format, text_format
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.apis.predict_pb2 import PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    add_PredictionServiceServicer_to_server,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "serving"
LARGEST = int(re.search(r"max_batch_size \{ value: (\d+) \}", (FOLDER / "config/batching.config").read_text())[1])


class Server(PredictionServiceServicer):
    """Answers `Predict` for version 1 of a model "resnet"; by REST in the row format of TensorFlow Serving."""

    def __init__(self, folder):
        self.model = tf.saved_model.load(str(folder))
        self.batches = []

    def run(self, name, version, signature, **inputs):
        if name != "resnet" or version not in (None, 1):
            raise KeyError(f"Servable not found for request: {name}, {version}")
        if (size := len(next(iter(inputs.values())))) > LARGEST:
            raise KeyError(f"Task size {size} is larger than maximum input batch size {LARGEST}")
        self.batches.append(size)
        return {key: value.numpy() for key, value in self.model.signatures[signature](**inputs).items()}

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        version = spec.version.value if spec.HasField("version") else None
        try:
            outputs = self.run(spec.name, version, spec.signature_name, **inputs)
        except KeyError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        return PredictResponse(outputs={name: tf.make_tensor_proto(value) for name, value in outputs.items()})

    def rest(self, path, body):
        name, version = re.fullmatch(r"/v1/models/(\w+)(?:/versions/(\d+))?:predict", path).groups()
        request = json.loads(body)
        assert set(request) == {"signature_name", "instances"}
        files = [base64.b64decode(instance["image_bytes"]["b64"], validate=True) for instance in request["instances"]]
        outputs = self.run(name, version and int(version), request["signature_name"], image_bytes=tf.constant(files))
        lists = {
            key: np.char.decode(value.astype(bytes)) if value.dtype == object else value
            for key, value in outputs.items()
        }
        rows = [
            dict(zip(lists, values, strict=True)) for values in zip(*(v.tolist() for v in lists.values()), strict=True)
        ]
        return json.dumps({"predictions": rows}).encode()


@pytest.fixture(scope="module")
def server(served):
    """A server, its REST URL and its gRPC address."""
    servicer = Server(served)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                status, body = 200, servicer.rest(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            except KeyError as error:
                status, body = 404, json.dumps({"error": str(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            """Returns the state of a model, as ModelService's GetModelStatus does."""
            known = self.path == "/v1/models/resnet"
            status = GetModelStatusResponse()
            if known:
                status.model_version_status.add(version=1, state=ModelVersionStatus.AVAILABLE)
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json_format.MessageToJson(status, preserving_proto_field_name=True).encode())

        def log_message(self, *_):
            pass

    rest = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    rpc = grpc.server(futures.ThreadPoolExecutor(2))
    add_PredictionServiceServicer_to_server(servicer, rpc)
    port = rpc.add_insecure_port("localhost:0")
    rpc.start()
    yield servicer, f"http://localhost:{rest.server_port}", f"localhost:{port}"
    rest.shutdown()
    rpc.stop(None)


def program(name, *words):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [sys.executable, str(FOLDER / name), *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


def serving():
    """Returns the configuration with which Docker starts the server."""
    return yaml.safe_load((FOLDER / "docker-compose.yaml").read_text())["services"]["serving"]


@pytest.mark.parametrize("how", ["rest", "grpc"])
def test_the_client_names_the_classes_of_photographs(server, network, photographs, expected, tmp_path, how):
    _, url, address = server
    (tmp_path / "torn.jpg").write_bytes(photographs[0].read_bytes()[:3000])
    where = ["--url", url] if how == "rest" else ["--grpc", address]
    done = program("client.py", *photographs[:3], tmp_path / "torn.jpg", *where)
    assert done.returncode == 1, done.stderr  # since one file is not an image
    *lines, torn = done.stdout.splitlines()
    assert torn == f"{tmp_path / 'torn.jpg'}: not an image"
    for path, line, probabilities in zip(photographs[:3], lines, expected[1][:3], strict=True):
        best = probabilities.argmax()
        assert line.startswith(f"{path}: {network[1]['class_names'][best]} {100 * probabilities[best]:.1f} %, ")
        assert line.count("%") == 5


def test_the_client_sends_no_more_photographs_at_once_than_the_server_takes(server, photographs):
    """TensorFlow Serving refuses a request of more images than max_batch_size."""
    servicer, url, _ = server
    before = len(servicer.batches)
    done = program("client.py", *photographs[:1] * (LARGEST + 2), "--url", url)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, LARGEST + 2), done.stderr
    assert servicer.batches[before:] == [LARGEST, 2]


@pytest.mark.parametrize("how", ["rest", "grpc"])
def test_an_unknown_model_and_an_absent_server_are_reported_in_one_line(server, photographs, capsys, how):
    _, url, address = server
    rest = how == "rest"
    option, present, absent = ("--url", url, "http://localhost:1") if rest else ("--grpc", address, "localhost:1")
    client, path = runpy.run_path(str(FOLDER / "client.py"))["main"], str(photographs[0])
    errors = []
    for words in ([option, present, "--version", "9"], [option, absent]):
        capsys.readouterr()
        assert client([path, *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        errors.append(err.splitlines()[-1])
        assert errors[-1].startswith("client.py: error: ")
    assert "Servable not found" in errors[0]


def test_the_load_script_prints_percentiles_and_throughput(server, photographs):
    servicer, url, _ = server
    program("client.py", photographs[0], "--url", url)  # since the first request traces the function
    before = len(servicer.batches)
    done = program("load.py", photographs[0], "--url", url, "--clients", "1,2", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["clients", "images/s", "p50", "ms", "p90", "ms", "p99", "ms"]
    for clients, row in zip((1, 2), rows, strict=True):
        number, rate, *latencies = map(float, row)
        assert number == clients and 0 < latencies[0] <= latencies[1] <= latencies[2]
        assert 0 < rate * latencies[0] / 1000 < 1.5 * clients  # Little's law, with the median
    assert len(servicer.batches) - before == pytest.approx(sum(float(row[1]) for row in rows), rel=0.3)


def test_each_client_of_the_load_script_sends_at_least_one_request(server, photographs):
    done = program("load.py", photographs[0], "--url", server[1], "--clients", "2", "--seconds", "0")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[1].split()[1]) > 0  # images/s


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("client.py --url foo", "unknown url type: 'foo/v1/models/resnet:predict'"),
        ("client.py --url http://localhost:1", "http://localhost:1 does not answer: [Errno 111] Connection refused."),
        ("load.py --url foo", "unknown url type: 'foo/v1/models/resnet:predict'"),
        ("load.py --clients 1,x", "argument --clients: invalid counts value: '1,x'"),
        ("load.py --clients 0", "argument --clients: must be numbers of at least 1. Received: 0"),
    ],
)
def test_wrong_options_are_reported_without_a_traceback(photographs, words, message):
    name, *options = words.split()
    done = program(name, photographs[0], *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"{name}: error: {message}")


def test_the_health_check_asks_whether_the_model_is_available(server):
    """As Docker runs it, without a shell."""
    port = server[1].rpartition(":")[2]
    how, *words = serving()["healthcheck"]["test"]
    assert how == "CMD"
    for served_port, model, status in ((port, "resnet", 0), ("1", "resnet", 1), (port, "other", 1)):
        check = [word.replace("8501", served_port).replace("models/resnet", f"models/{model}") for word in words]
        assert subprocess.run(check, capture_output=True, timeout=30).returncode == status


def test_the_servers_configuration_is_valid():
    config = text_format.Parse((FOLDER / "config/models.config").read_text(), ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_version_policy.latest.num_versions) == (
        "resnet",
        "/models/resnet",
        2,
    )
    compose = serving()
    named = [argument.partition("=/config/")[2] for argument in compose["command"] if "=/config/" in argument]
    assert "models.config" in named
    assert all((FOLDER / "config" / name).is_file() for name in named)
    assert "/config" in compose["volumes"][1] and "8501:8501" in compose["ports"]
