"""Pretrained weights: read from other libraries' files, fitted to a network of this package, and written back."""

from .pretrained import Pretrained as Pretrained
from .reading import check as check
from .reading import read as read
