"""Weights from the Hugging Face hub, for which a local server stands in."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.numpy import save

import keras_resnet
import references
from comparing import alike
from keras_resnet import saving
from keras_resnet.weights.conversion import convert

COMMIT = 40 * "a"
CONFIG = {
    "architecture": "resnet18",
    "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "crop_pct": 0.95,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A dict of files by "OWNER/NAME/FILE", which a server serves like the hub, and the list of requests."""
    files, requests = {}, []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            name, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            content = files.get(f"{name}/{file}")
            if self.command == "GET":
                requests.append((name, revision, file))
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if f"{name}/" in str(list(files)) else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hash(content)}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield files, requests
    server.shutdown()
    server.server_close()


def logits(model, images):
    return keras.ops.convert_to_numpy(keras_resnet.features(model, ["logits"])(images)["logits"])


def test_a_repository_of_timm_gives_weights_normalisation_view_and_names(hub, shared, tmp_path):
    files, requests = hub
    files["timm/resnet18.a1_in1k/model.safetensors"] = save(references.state(shared, 18))
    files["timm/resnet18.a1_in1k/config.json"] = json.dumps(CONFIG).encode()
    report = convert("hf://timm/resnet18.a1_in1k", tmp_path / "out.keras", "resnet18")
    assert report["view"] == {"size": 224, "resize": 235}  # 224 / 0.95, rounded down as timm does
    assert (report["tensors"], report["labels"], report["parameters"]) == (102, 1000, 11_689_512)
    model, info = saving.load(tmp_path / "out.keras")
    assert info["class_ids"][281] == "n02123045"
    mean, deviation = (255 * np.array(CONFIG["pretrained_cfg"][name]) for name in ("mean", "std"))
    raw = (references.images(shared) * deviation + mean).astype("float32")
    np.testing.assert_allclose(logits(model, raw), references.logits(shared, 18), atol=1e-4)
    assert {("timm/resnet18.a1_in1k", "main", file) for file in ("model.safetensors", "config.json")} <= set(requests)


@pytest.mark.parametrize("architecture", ["resnetaa50", "resnetblur18", "resnetblur50"])
def test_networks_of_timm_that_only_have_the_tensors_of_a_resnet_are_refused(hub, architecture):
    """In timm 1.0.31, the state dicts of these have exactly the names and shapes of resnet18's and resnet50's."""
    files, _ = hub
    files["timm/x.y/model.safetensors"] = save({"conv1.weight": np.zeros((64, 3, 7, 7), "float32")})
    files["timm/x.y/config.json"] = json.dumps({**CONFIG, "architecture": architecture}).encode()
    with pytest.raises(ValueError, match=rf"hf://timm/x.y is timm's '{architecture}', which averages") as error:
        keras_resnet.ResNet50(weights="hf://timm/x.y")
    assert "\n" not in str(error.value)


def test_the_second_time_nothing_is_fetched(hub, shared):
    files, requests = hub
    files["timm/resnet18.tv_in1k/model.safetensors"] = save(references.state(shared, 18))
    files["timm/resnet18.tv_in1k/config.json"] = json.dumps(CONFIG).encode()
    keras_resnet.ResNet18(weights="imagenet")
    fetched = list(requests)
    keras_resnet.ResNet18(weights="imagenet")
    assert requests == fetched
    with pytest.raises(ValueError, match=r"are for `bn_epsilon=1e-05`. Received: bn_epsilon=0.001"):
        keras_resnet.ResNet18(weights="imagenet", bn_epsilon=1e-3)


def test_imagenet_weights_with_the_strides_of_torchvision_are_torchvisions(hub, shared):
    files, _ = hub
    files["timm/resnet50.tv_in1k/model.safetensors"] = save(references.state(shared, 50))
    model = keras_resnet.ResNet50(weights="imagenet", stride_on="3x3", include_preprocessing=False)
    np.testing.assert_allclose(logits(model, references.images(shared)), references.logits(shared, 50), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "address", "choices"),
    [
        ("ResNet18V2", "timm/resnetv2_18.ra4_e3600_r224_in1k", {}),
        ("ResNet50V2", "timm/resnetv2_50.a1h_in1k", {"stem": "bare"}),
    ],
)
def test_imagenet_weights_of_version_2_with_the_stem_of_timm_are_timms(hub, shared, name, address, choices):
    files, _ = hub
    network, images = getattr(keras_resnet, name), references.images(shared)[:, :64, :64]
    bottleneck = network.spec.unit == "bottleneck"
    state = references.timm_v2_state(shared, network.spec.stage_units, network.spec.stage_filters, bottleneck)
    files[f"{address}/model.safetensors"] = save(state)
    model = network(weights="imagenet", include_preprocessing=False, input_shape=(64, 64, 3), **choices)
    alike(logits(model, images), references.timm_v2_logits(state, images), 1e-5)


def test_a_revision_and_an_older_file_of_torch(hub, shared, tmp_path):
    files, requests = hub
    torch.save({name: torch.tensor(value) for name, value in references.state(shared, 18).items()}, tmp_path / "x.pth")
    files["someone/cats/pytorch_model.bin"] = (tmp_path / "x.pth").read_bytes()
    files["someone/cats/config.json"] = json.dumps(
        {**CONFIG, "label_names": [f"cat {n}" for n in range(1000)]}
    ).encode()
    convert("hf://someone/cats@v2", tmp_path / "out.keras", "resnet18")
    assert {revision for _, revision, _ in requests} <= {"v2", COMMIT}
    assert saving.read_info(tmp_path / "out.keras")["class_names"][7] == "cat 7"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://resnet18", "has the form hf://OWNER/NAME"),
        ("hf://timm/nothing", "hf://timm/nothing cannot be downloaded"),
        ("hf://timm/empty", "has no model.safetensors and no pytorch_model.bin"),
    ],
)
def test_what_cannot_be_downloaded_is_reported_in_one_line(hub, address, words):
    files, _ = hub
    files["timm/empty/README.md"] = b"nothing"
    with pytest.raises(ValueError, match=words) as error:
        keras_resnet.ResNet18(weights=address)
    assert "\n" not in str(error.value)


def test_a_hub_out_of_reach_is_reported_in_one_line(monkeypatch, tmp_path):
    nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    with pytest.raises(ValueError, match=r"hf://timm/resnet18.tv_in1k cannot be downloaded") as error:
        keras_resnet.ResNet18(weights="imagenet")
    assert "\n" not in str(error.value)
