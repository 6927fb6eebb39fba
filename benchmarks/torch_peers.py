"""PyTorch networks, and a plain PyTorch training script, for comparison with this package's."""

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
    """PyTorch network of the given name: torchvision's, or `cifar_resnet` for CIFAR-10's.

    Args:
        name: such as "resnet50" or "resnet20".
        peers: path of a Python file that makes torchvision importable where its own wheel is not.

    Raises:
        LookupError: torchvision has no such network, or is not installed.
    """
    depth = int(name.removeprefix("resnet"))
    if depth in CIFAR:
        return cifar_resnet(depth)
    models = _imported("torchvision.models", peers)
    if not hasattr(models, name):
        raise LookupError(f"torchvision has no {name}")
    return getattr(models, name)(weights=None)


def timm_network(name: str, peers: str | None) -> Any:
    """timm's network of the given name; see `network`."""
    timm = _imported("timm", peers)
    if name not in timm.list_models(name):
        raise LookupError(f"timm has no {name}")
    return timm.create_model(name)


def torch_device() -> str:
    """Device on which PyTorch computes: a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def training_device() -> str:
    """Device on which PyTorch trains. On a GPU, cuDNN searches for the fastest kernels, as in most training scripts."""
    import torch

    torch.backends.cudnn.benchmark = True
    return torch_device()


def _imported(module: str, peers: str | None) -> Any:
    """Imports torchvision, a module of it, or a module that needs it.

    Raises:
        LookupError: it or torchvision is not installed.
    """
    try:
        if peers:
            runpy.run_path(peers)
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another version of torch
        raise LookupError(f"{module}: {str(error).splitlines()[0]}") from error


def plain_run(recipe: Recipe, data: Dataset, peers: str | None) -> tuple[float, list[float]]:
    """Trains by the papers' recipe as a typical PyTorch script does, with torchvision's transforms in worker processes.

    As such scripts do, and unlike the papers, it subtracts the mean of each channel and pads with black. Images are
    channels first, on a GPU too.

    Args:
        recipe: the run's recipe.
        data: the data set.
        peers: see `network`.

    Returns:
        The final test error in percent, and the seconds of each epoch.

    Raises:
        LookupError: the script does not support the recipe or the data, or torchvision is not installed.
    """
    import torch

    from keras_resnet.data import steps_per_epoch
    from keras_resnet.training.recipes import recipe_for

    chosen = {name: getattr(recipe, name) for name in ("dataset", "data_dir", "model", "epochs", "images", "seed")}
    arguments = steps_per_epoch(data.train_count, recipe.batch_size), data.defaults()
    recipe, papers = recipe.resolve(*arguments), recipe_for("paper", **chosen).resolve(*arguments)
    supported = recipe == papers and not recipe.warmup_rate and recipe.model in {f"resnet{depth}" for depth in CIFAR}
    if not supported or data.image_shape()[-1] != 3 or data.classes != 10 or data.train_count < recipe.batch_size:
        raise LookupError("the script supports the papers' recipe without warm-up, CIFAR ResNets, ten classes, RGB")
    transforms = _imported("torchvision.transforms", peers)
    torch.manual_seed(recipe.seed)
    device, means = training_device(), [float(mean) / 255 for mean in data.mean("channel")]
    normalization = [transforms.ToTensor(), transforms.Normalize(means, [1 / 255] * 3)]
    augmentation = [transforms.RandomCrop(data.image_shape()[0], padding=recipe.pad), transforms.RandomHorizontalFlip()]

    class Images(torch.utils.data.Dataset):
        def __init__(self, images: Any, labels: Any, steps: list[Any]) -> None:
            self.images, self.labels = images, labels
            self.transform = transforms.Compose([transforms.ToPILImage(), *steps])

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(self.images[index]), int(self.labels[index])

    workers = {"num_workers": cores(), "persistent_workers": True, "pin_memory": device == "cuda"}
    training_images, test_images = (
        Images(data.x_train, data.y_train, [*augmentation, *normalization]),
        Images(data.x_test, data.y_test, normalization),
    )
    batches = torch.utils.data.DataLoader(training_images, recipe.batch_size, shuffle=True, drop_last=True, **workers)
    model = network(recipe.model, peers).to(device)
    optimizer = torch.optim.SGD(model.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(step) / recipe.learning_rate)
    seconds = []
    for _ in range(recipe.epochs):
        start = time.perf_counter()
        for images, labels in batches:
            optimizer.zero_grad()
            logits = model(images.to(device, non_blocking=True))
            loss = torch.nn.functional.cross_entropy(logits, labels.to(device, non_blocking=True))
            loss.backward()
            optimizer.step()
            schedule.step()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    wrong = 0
    with torch.inference_mode():
        for images, labels in torch.utils.data.DataLoader(test_images, 500, **workers):
            wrong += int((model.eval()(images.to(device)).argmax(1).cpu() != labels).sum())
    return 100 * wrong / data.test_count, seconds


def cifar_resnet(depth: int) -> Any:
    """Network of 6n + 2 layers with option A (He et al. 2015, section 4.2), as commonly written in PyTorch."""
    from torch import nn
    from torch.nn import functional

    class Unit(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.added_channels = stride, filters - channels

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            if self.added_channels:
                x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added_channels))
            return functional.relu(x + y)

    layers: list[Any] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for filters in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(Unit(channels, filters, 1 if filters == channels else 2))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
