"""Evaluation of trained networks on data sets, prediction for images, and feature extraction."""
