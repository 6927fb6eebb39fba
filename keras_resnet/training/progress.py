"""How far work is that takes long, told to whoever sits at a terminal."""

from __future__ import annotations

from typing import Any

import keras
from tqdm import tqdm

from .. import backend


class Bar(keras.callbacks.Callback):
    """Shows how far a test is that takes more than a second, where stderr is a terminal.

    Within `fit`, Keras shows nothing of the tests behind the epochs. The bar moves when a batch begins: for a callback
    that asks what a batch gave, Keras waits for the device.

    Args:
        what: is done.
        batches: of a test, how many.
    """

    def __init__(self, what: str, batches: int) -> None:
        super().__init__()
        self._what, self._batches = what, batches

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        hidden = None if backend.chief() else True  # None: where stderr is no terminal
        self._bar = tqdm(desc=self._what, total=self._batches, delay=1, leave=False, disable=hidden)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.close()
