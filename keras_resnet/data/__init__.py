"""Data: sets of images as NumPy arrays, the papers' augmentation, and images read from disk."""

from .augment import TrainingBatches, cut_out, pad_crop_flip, steps_per_epoch
from .datasets import DATASETS, Dataset, DatasetRow, load
from .errors import DataError
from .images import list_images, read_image, resize_to

__all__ = [
    "DATASETS",
    "DataError",
    "Dataset",
    "DatasetRow",
    "TrainingBatches",
    "cut_out",
    "list_images",
    "load",
    "pad_crop_flip",
    "read_image",
    "resize_to",
    "steps_per_epoch",
]
