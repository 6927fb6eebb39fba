"""The exception that `keras_resnet.data` raises."""


class DataError(ValueError):
    """A user's mistake about data; the message is one line with the path or name, the fault and the remedy."""
