"""A network computes what torchvision's does, from its file; other depths and the way back are tested in `once`."""

import references


def test_logits_for_torchvisions_seeded_weights(shared, tmp_path):
    references.check_torchvision_logits(shared, tmp_path, 18)
