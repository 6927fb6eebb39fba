"""Makes leaderboard, pictures and best recipe of any search: `python tuning/report.py searches/digits`."""

import sys

from keras_resnet import backend


def main(folders: list[str]) -> int:
    """Reports on each folder; a mistake is one line and exit status 2."""
    if not folders:
        print("usage: python tuning/report.py FOLDER ...", file=sys.stderr)
        return 2
    try:
        backend.select_backend()
        from keras_resnet.tuning.report import write_report

        for folder in folders:
            best = write_report(folder)
            told = f"best {best['error']:.2f} %, trial {int(best['trial']) + 1}; look at {folder}/leaderboard.html"
            print(f"{folder}: {told}")
    except (ValueError, OSError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
