"""Searches depth, width, shortcut and recipe: `python tuning/search.py digits --tuner hyperband --max-trials 20`.

Equivalent to `keras-resnet tune`; `python tuning/search.py --help` lists all options.
"""

import sys

from keras_resnet.cli import main

if __name__ == "__main__":
    words = sys.argv[1:]
    if "--dataset" in words:  # as an alternative to the positional argument
        place = words.index("--dataset")
        words = [*words[place + 1 : place + 2], *words[:place], *words[place + 2 :]]
    sys.exit(main(["tune", *words]))
