"""The one exception of this room."""


class DataError(ValueError):
    """A user's mistake about data, said in one line: which path or name, what is wrong, what would work."""
