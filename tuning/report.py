"""Writes leaderboard, plots and best recipe of any search: `python tuning/report.py searches/digits`."""

import sys

from keras_resnet import backend
from keras_resnet.options import Parser


def main(folders: list[str]) -> int:
    """Writes the report of each folder; an error is printed in one line, with exit status 2."""
    parser = Parser(prog="report.py", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folder of a search")
    folders = parser.parse_args(folders).folders
    try:
        backend.select_backend()
        from keras_resnet.tuning.report import write_report

        for folder in folders:
            best = write_report(folder)
            trial = int(best["trial"]) + 1
            print(f"{folder}: best {best['error']:.2f} %, trial {trial}; see {folder}/leaderboard.html")
    except (ValueError, OSError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
