"""Search over depth, width, shortcut and recipe with keras-tuner."""
