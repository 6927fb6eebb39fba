"""Searches depth, width, shortcut and recipe: `python tuning/search.py digits --tuner hyperband --max-trials 20`.

The same as `keras-resnet tune`; `python tuning/search.py --help` names every option.
"""

import sys

from keras_resnet.cli import main

if __name__ == "__main__":
    words = sys.argv[1:]
    if "--dataset" in words:  # may be said either way
        place = words.index("--dataset")
        words = [*words[place + 1 : place + 2], *words[:place], *words[place + 2 :]]
    sys.exit(main(["tune", *words]))
