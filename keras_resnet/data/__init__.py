"""Data: sets of images in memory or streamed from disk, the papers' augmentation, and images read from disk."""

from .augment import ArrayTestBatches, TrainingBatches, cut_out, pad_crop_flip, steps_per_epoch
from .datasets import DATASETS, Dataset, DatasetRow, load
from .errors import DataError
from .images import list_images, read_image, resize_to
from .stream_batches import StreamTestBatches, StreamTrainingBatches
from .streams import ImageStream
from .views import default_resize, read_center
from .whole_images import Cut, ManyViews, scales_of, ten_crops_of

__all__ = [
    "DATASETS",
    "ArrayTestBatches",
    "Cut",
    "DataError",
    "Dataset",
    "DatasetRow",
    "ImageStream",
    "ManyViews",
    "StreamTestBatches",
    "StreamTrainingBatches",
    "TrainingBatches",
    "cut_out",
    "default_resize",
    "list_images",
    "load",
    "pad_crop_flip",
    "read_center",
    "read_image",
    "resize_to",
    "scales_of",
    "steps_per_epoch",
    "ten_crops_of",
]
