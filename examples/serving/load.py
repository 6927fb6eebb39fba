"""Measures TensorFlow Serving under load: percentiles of latency, and throughput, for a rising number of clients.

    python load.py photo.jpg [--clients 1,2,4,8,16] [--seconds 10] [--grpc]

Each client sends one request after the other. Latency against throughput shows from where on batches pay off, and where
the server is saturated.
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
    """Runs several clients in parallel.

    Args:
        ask: sends a request and waits for the answer.
        clients: the number of clients.
        seconds: how long they send requests; at least one each.

    Returns:
        The latency of each request in seconds, and the throughput in requests per second.
    """
    latencies: list[float] = []
    errors: list[Exception] = []
    start = time.perf_counter()

    def client() -> None:
        while not errors:
            sent = time.perf_counter()
            try:
                ask()
            except (OSError, ValueError) as error:
                errors.append(error)
                return
            latencies.append(time.perf_counter() - sent)
            if time.perf_counter() - start >= seconds:
                return

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return latencies, len(latencies) / (time.perf_counter() - start)


def percentile(latencies: Sequence[float], percent: int) -> float:
    """The latency that the given percentage of requests did not exceed."""
    return sorted(latencies)[math.ceil(percent / 100 * len(latencies)) - 1]


def counts(text: str) -> list[int]:
    """Converts an argument such as "1,2,4" to numbers of at least 1."""
    numbers = [int(number) for number in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"must be numbers of at least 1. Received: {text}")
    return numbers


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each number of clients; returns the exit status, 2 if the server does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph", type=Path)
    parser.add_argument(
        "--clients", type=counts, default="1,2,4,8,16", help="numbers of clients, comma-separated [1,2,4,8,16]"
    )
    parser.add_argument("--seconds", type=float, default=10, help="duration for each number of clients [10]")
    parser.add_argument("--url", default="http://localhost:8501", help="address for REST [http://localhost:8501]")
    parser.add_argument(
        "--grpc", nargs="?", const="localhost:8500", metavar="ADDRESS", help="use gRPC at this address [localhost:8500]"
    )
    parser.add_argument("--model", default="resnet", help="name of the model [resnet]")
    arguments = parser.parse_args(argv)
    ask, address = (ask_grpc, arguments.grpc) if arguments.grpc else (ask_rest, arguments.url)
    try:
        file = arguments.photograph.read_bytes()
        print("clients  images/s  " + "  ".join(f"p{percent} ms".rjust(8) for percent in PERCENTILES))
        for clients in arguments.clients:
            latencies, rate = measure(lambda: ask(address, arguments.model, None, [file]), clients, arguments.seconds)
            percentiles = "  ".join(f"{1000 * percentile(latencies, percent):8.1f}" for percent in PERCENTILES)
            print(f"{clients:7}  {rate:8.1f}  {percentiles}", flush=True)
    except (OSError, ValueError) as error:
        print(f"load.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
