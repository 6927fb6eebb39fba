"""Data sets of images in memory or streamed from disk, the papers' augmentation, and single images read from disk."""

from .augment import ArrayTestBatches, TrainingBatches, cut_out, pad_crop_flip, steps_per_epoch
from .datasets import DATASETS, Dataset
from .errors import DataError
from .hold_out import evenly_spaced
from .images import list_images, read_image, resize_to
from .labelled_images import MEANS, LabelledImages
from .loading import is_registered, load, make_available
from .multi_view import MultiViewBatches, scales_of, ten_crops_of
from .stream_batches import StreamTestBatches, StreamTrainingBatches
from .streams import ImageStream, absolute_path, short_name
from .views import COLORS, CROPS, SIZE, default_resize, default_sizes, read_center

__all__ = [
    "COLORS",
    "CROPS",
    "DATASETS",
    "MEANS",
    "SIZE",
    "ArrayTestBatches",
    "DataError",
    "Dataset",
    "ImageStream",
    "LabelledImages",
    "MultiViewBatches",
    "StreamTestBatches",
    "StreamTrainingBatches",
    "TrainingBatches",
    "absolute_path",
    "cut_out",
    "default_resize",
    "default_sizes",
    "evenly_spaced",
    "is_registered",
    "list_images",
    "load",
    "make_available",
    "pad_crop_flip",
    "read_center",
    "read_image",
    "resize_to",
    "scales_of",
    "short_name",
    "steps_per_epoch",
    "ten_crops_of",
]
