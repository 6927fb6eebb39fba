"""`python -m keras_resnet` is the `keras-resnet` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
