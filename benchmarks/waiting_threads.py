"""What spinning costs while threads wait for each other, on an idle machine and on a busy one.

    python benchmarks/waiting_threads.py [--rounds 3] [--steps 8] [--threads 2] [--busy 0 1] [--works ddamfn]
                                         [--spins 5000]

Each round starts a process of each kind for each work, one after the other: with threads as GNU OpenMP has them wait
(300,000 turns), asleep at once, and with so many turns before they sleep; `abawkit` sets 5,000. A process takes two
steps that do not count. With `--busy`, so many other programs that do nothing but compute run beside it, each in a
session of its own, as those of other users do.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WORKS: Final = ("ddamfn-nano", "one frame", "bigru", "ddamfn", "frame")
"""Training steps of networks, but for ``one frame``: the evaluation of one image by ``ddamfn``. Three by default."""

KINDS: Final[dict[str, dict[str, str]]] = {"spinning": {}, "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"}}
VARIABLES: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def make_step(work: str) -> Callable[[], object]:
    """A function that does the work once."""
    import torch

    from abawkit.models.config import NETWORKS
    from abawkit.models.inference import make_model_input, place_network
    from abawkit.models.network import DDAMFN
    from abawkit.models.sequence import SequenceNetwork, Windows
    from abawkit.models.sequence_config import FeatureInput, SequenceConfig, SequenceKind

    torch.manual_seed(0)
    if work in ("bigru", "frame"):
        kinds: dict[str, SequenceKind] = {"bigru": "bigru", "frame": "frame"}
        windows, length = (4, 64) if work == "bigru" else (2048, 1)
        config = SequenceConfig(kinds[work], (FeatureInput(512, ""),), 128, 1, 3, 4, 32, 64, 0.0)
        network: torch.nn.Module = SequenceNetwork(config).train()
        shape = (windows, length)
        given: object = Windows(
            torch.randn(*shape, 512),
            torch.ones(shape),
            torch.ones(shape, dtype=torch.bool),
            torch.arange(windows * length),
        )
    else:
        network = DDAMFN(NETWORKS["ddamfn" if work == "one frame" else work]).train(work != "one frame")
        place_network(network, torch.device("cpu"))
        images = {"ddamfn-nano": 64, "ddamfn": 32, "one frame": 1}[work]
        given = make_model_input(torch.randn(images, 3, 112, 112))
    if work == "one frame":

        def evaluate() -> object:
            with torch.inference_mode():
                return network(given)

        return evaluate
    optimizer = torch.optim.AdamW(network.parameters())

    def train() -> object:
        optimizer.zero_grad()
        sum(output.square().mean() for output in network(given)[:3]).backward()
        return optimizer.step()

    return train


def run_steps(work: str, steps: int, threads: int) -> float:
    """The median of the seconds of a step, in this process."""
    from abawkit.execution import cpu_threads

    with cpu_threads(threads):
        step, times = make_step(work), []
        for _ in range(steps + 2):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """So many programs that compute without end, for the length of the block."""
    command = [sys.executable, "-c", "while True: sum(range(10**6))"]
    started = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for program in started:
            program.kill()
            program.wait()


def measure(work: str, variables: dict[str, str], given: argparse.Namespace) -> float:
    """The median step of a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, __file__, "--child", work, "--steps", str(given.steps), "--threads", str(given.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**environment, **variables})
    return float(done.stdout)


def main() -> None:
    """Runs all kinds in turn and prints medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS[:3])
    parser.add_argument("--spins", nargs="+", default=["5000"])
    parser.add_argument("--child", choices=WORKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(run_steps(given.child, given.steps, given.threads))
        return
    kinds = {**KINDS, **{f"{spins} turns": {"GOMP_SPINCOUNT": spins} for spins in given.spins}}
    print(f"| other programs | work | {' | '.join(f'{kind}, ms' for kind in kinds)} | spinning to each |")
    print("| --- | --- |" + " ---: |" * (len(kinds) + 1))
    for busy in given.busy:
        for work in given.works:
            found: dict[str, list[float]] = {kind: [] for kind in kinds}
            with busy_programs(busy):
                for _ in range(given.rounds):
                    for kind, variables in kinds.items():
                        found[kind].append(measure(work, variables, given))
            times = " | ".join(f"{1e3 * statistics.median(values):.2f}" for values in found.values())
            ratios = [
                statistics.median(a / b for a, b in zip(found["spinning"], values, strict=True))
                for kind, values in found.items()
                if kind != "spinning"
            ]
            print(f"| {busy} | {work} | {times} | {', '.join(f'{ratio:.2f} x' for ratio in ratios)} |", flush=True)


if __name__ == "__main__":
    main()
