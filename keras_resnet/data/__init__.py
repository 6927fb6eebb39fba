"""Data: sets of images in memory or streamed from disk, the papers' augmentation, and images read from disk."""

from .augment import ArrayTestBatches, TrainingBatches, cut_out, pad_crop_flip, steps_per_epoch
from .datasets import DATASETS, Dataset, DatasetRow, load
from .errors import DataError
from .images import list_images, read_image, resize_to
from .stream_batches import StreamTestBatches, StreamTrainingBatches
from .streams import ImageStream
from .views import read_center

__all__ = [
    "DATASETS",
    "ArrayTestBatches",
    "DataError",
    "Dataset",
    "DatasetRow",
    "ImageStream",
    "StreamTestBatches",
    "StreamTrainingBatches",
    "TrainingBatches",
    "cut_out",
    "list_images",
    "load",
    "pad_crop_flip",
    "read_center",
    "read_image",
    "resize_to",
    "steps_per_epoch",
]
