"""How long TensorFlow Serving takes under load: percentiles of latency at a rising number of clients.

    python load.py photo.jpg [--clients 1,2,4,8,16] [--seconds 10] [--grpc]

Each client asks about one photograph after the other. Latency against images a second shows where batches begin to pay,
and where the server is full.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from client import ask_grpc, ask_rest

PERCENTILES = (50, 90, 99)


def measure(ask: Callable[[], object], clients: int, seconds: float) -> tuple[list[float], float]:
    """Has several clients ask for a while.

    Returns:
        The latency of every answer in seconds, and how many answers a second there were.
    """
    latencies: list[float] = []
    errors: list[Exception] = []
    begun = time.perf_counter()

    def client() -> None:
        while time.perf_counter() - begun < seconds and not errors:
            asked = time.perf_counter()
            try:
                ask()
            except OSError as error:
                errors.append(error)
                return
            latencies.append(time.perf_counter() - asked)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies, len(latencies) / (time.perf_counter() - begun)


def percentile(latencies: Sequence[float], percent: int) -> float:
    """The latency that so many percent of the answers did not take longer than."""
    return sorted(latencies)[math.ceil(percent / 100 * len(latencies)) - 1]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line a number of clients; 2 if the server does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--clients", default="1,2,4,8,16", help="numbers of clients [1,2,4,8,16]")
    parser.add_argument("--seconds", type=float, default=10, help="for each of them [10]")
    parser.add_argument("--url", default="http://localhost:8501", help="of REST [http://localhost:8501]")
    parser.add_argument(
        "--grpc", nargs="?", const="localhost:8500", metavar="ADDRESS", help="ask by gRPC [localhost:8500]"
    )
    parser.add_argument("--model", default="resnet", help="the model's name [resnet]")
    arguments = parser.parse_args(argv)
    ask, where = (ask_grpc, arguments.grpc) if arguments.grpc else (ask_rest, arguments.url)
    try:
        file = arguments.photograph.read_bytes()
        print("clients  images/s  " + "  ".join(f"p{percent} ms".rjust(8) for percent in PERCENTILES))
        for clients in map(int, arguments.clients.split(",")):
            found, rate = measure(lambda: ask(where, arguments.model, None, [file]), clients, arguments.seconds)
            shown = "  ".join(f"{1000 * percentile(found, percent):8.1f}" for percent in PERCENTILES)
            print(f"{clients:7}  {rate:8.1f}  {shown}", flush=True)
    except OSError as error:
        print(f"load.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
