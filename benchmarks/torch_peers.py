"""Networks of PyTorch to be timed beside this package's."""

from __future__ import annotations

import importlib
import runpy
import time
from typing import TYPE_CHECKING, Any

from keras_resnet.host import cores

if TYPE_CHECKING:
    from keras_resnet.data import Dataset
    from keras_resnet.training.recipe import Recipe

CIFAR = (20, 32, 44, 56, 110, 1202)


def network(name: str, peers: str | None) -> Any:
    """The network of a name in PyTorch: torchvision's, or one for CIFAR-10.

    Args:
        name: such as "resnet50" or "resnet20".
        peers: a Python file that makes torchvision importable where its own wheel is not.

    Raises:
        LookupError: there is none, or torchvision is not installed.
    """
    depth = int(name.removeprefix("resnet"))
    if depth in CIFAR:
        return cifar_resnet(depth)
    models = _imported("torchvision.models", peers)
    if not hasattr(models, name):
        raise LookupError(f"torchvision has no {name}")
    return getattr(models, name)(weights=None)


def timm_network(name: str, peers: str | None) -> Any:
    """timm's network of a name; see `network`."""
    timm = _imported("timm", peers)
    if name not in timm.list_models(name):
        raise LookupError(f"timm has no {name}")
    return timm.create_model(name)


def device_of_torch() -> str:
    """Where PyTorch computes: on a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _imported(module: str, peers: str | None) -> Any:
    """A module that is torchvision's or needs it.

    Raises:
        LookupError: it is not installed, or torchvision is not.
    """
    try:
        if peers:
            runpy.run_path(peers)
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: a wheel of another torch
        raise LookupError(f"{module}: {str(error).splitlines()[0]}") from error


def plain_run(recipe: Recipe, data: Dataset, peers: str | None) -> tuple[float, list[float]]:
    """A run by the papers' recipe as one writes it in PyTorch: torchvision's transforms in worker processes, a loop.

    As such scripts do, and unlike the papers, it subtracts the mean by channel, and pads with black; its images have
    their channels first, on a GPU too.

    Args:
        recipe: what is run.
        data: what on.
        peers: see `network`.

    Returns:
        The test error in percent in the end, and the seconds of each epoch.

    Raises:
        LookupError: the recipe is another, or torchvision is not installed.
    """
    import torch

    from keras_resnet.data import steps_per_epoch
    from keras_resnet.training.recipes import recipe_for

    asked = {name: getattr(recipe, name) for name in ("dataset", "data_dir", "model", "epochs", "images", "seed")}
    resolved = steps_per_epoch(data.train_count, recipe.batch_size), data.defaults()
    recipe, papers = recipe.resolve(*resolved), recipe_for("paper", **asked).resolve(*resolved)
    known = recipe == papers and not recipe.warmup_rate and recipe.model in {f"resnet{depth}" for depth in CIFAR}
    if not known or data.image_shape()[-1] != 3 or data.classes != 10 or data.train_count < recipe.batch_size:
        raise LookupError("the script knows the papers' recipe without warm-up, ResNets for CIFAR, ten classes, RGB")
    transforms = _imported("torchvision.transforms", peers)
    torch.manual_seed(recipe.seed)
    device, colors = device_of_torch(), [float(mean) / 255 for mean in data.mean("channel")]
    unchanged = [transforms.ToTensor(), transforms.Normalize(colors, [1 / 255] * 3)]
    changed = [transforms.RandomCrop(data.image_shape()[0], padding=recipe.pad), transforms.RandomHorizontalFlip()]

    class Images(torch.utils.data.Dataset):
        def __init__(self, images: Any, labels: Any, seen: list[Any]) -> None:
            self.images, self.labels = images, labels
            self.transform = transforms.Compose([transforms.ToPILImage(), *seen])

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(self.images[index]), int(self.labels[index])

    workers = {"num_workers": cores(), "persistent_workers": True, "pin_memory": device == "cuda"}
    trained, tested = (
        Images(data.x_train, data.y_train, [*changed, *unchanged]),
        Images(data.x_test, data.y_test, unchanged),
    )
    batches = torch.utils.data.DataLoader(trained, recipe.batch_size, shuffle=True, drop_last=True, **workers)
    model = network(recipe.model, peers).to(device)
    optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(step) / recipe.learning_rate)
    seconds = []
    for _ in range(recipe.epochs):
        begun = time.perf_counter()
        for images, labels in batches:
            optimizer.zero_grad()
            logits = model(images.to(device, non_blocking=True))
            loss = torch.nn.functional.cross_entropy(logits, labels.to(device, non_blocking=True))
            loss.backward()
            optimizer.step()
            rates.step()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - begun)
    wrong = 0
    with torch.inference_mode():
        for images, labels in torch.utils.data.DataLoader(tested, 500, **workers):
            wrong += int((model.eval()(images.to(device)).argmax(1).cpu() != labels).sum())
    return 100 * wrong / data.test_count, seconds


def cifar_resnet(depth: int) -> Any:
    """The network of 6n + 2 layers of He et al. 2015, section 4.2, with option A, as one writes it in PyTorch."""
    from torch import nn
    from torch.nn import functional

    class Unit(nn.Module):
        def __init__(self, before: int, filters: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.more = stride, filters - before

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            if self.more:
                x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
            return functional.relu(x + y)

    layers: list[Any] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for filters in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(Unit(before, filters, 1 if filters == before else 2))
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
