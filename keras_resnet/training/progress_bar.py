"""A progress bar for tests, which Keras does not show."""

from __future__ import annotations

from typing import Any

import keras
from tqdm import tqdm

from .. import backend


class Bar(keras.callbacks.Callback):
    """Progress bar of a test that takes more than a second, if stderr is a terminal.

    Within `fit`, Keras shows no progress of the test after an epoch. The bar moves when a batch begins, since Keras
    waits for the device after every batch if a callback overrides `on_test_batch_end`.

    Args:
        description: the text in front of the bar.
        batches: number of batches of a test.
    """

    def __init__(self, description: str, batches: int) -> None:
        super().__init__()
        self._description, self._batches = description, batches

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        hidden = None if backend.chief() else True  # None: hidden unless stderr is a terminal
        self._bar = tqdm(desc=self._description, total=self._batches, delay=1, leave=False, disable=hidden)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.close()
