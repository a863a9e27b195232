"""What ``abawkit --help`` costs, as a ratio to starting Python with typer alone."""

import argparse
import statistics
import subprocess
import sys
import time

HELP = [sys.executable, "-m", "abawkit", "--help"]
TYPER = [sys.executable, "-c", "import typer; from typer import rich_utils"]


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Runs both in turn and prints medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = [(seconds(HELP), seconds(TYPER)) for _ in range(parser.parse_args().rounds)]
    own, typer = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"medians of {len(rounds)} interleaved rounds, Python {sys.version.split()[0]}")
    print(f"python with typer   {1000 * typer:6.0f} ms")
    print(f"abawkit --help      {1000 * own:6.0f} ms   {own / typer:.2f} x (target: below 300 ms)")


if __name__ == "__main__":
    main()
