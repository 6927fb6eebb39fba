"""Testing a trained network, and asking it about images."""
