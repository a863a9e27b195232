"""What kept memory gains: training steps with the allocator as the system sets it, and as abawkit does.

Each round starts a process of each kind, one after the other; a process takes one step that does not count.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from typing import NamedTuple


class Measured(NamedTuple):
    """What a process measured: the median of its steps in seconds, page faults a step, and its peak memory in MiB."""

    seconds: float
    faults: float
    peak: float


def run_steps(network: str, images: int, steps: int, threads: int, *, keep: bool) -> Measured:
    """Takes training steps in this process: forward, backward and AdamW."""
    from abawkit.system.memory import keep_freed_memory

    if keep and not keep_freed_memory():
        raise SystemExit("the allocator can't be set here: it is not that of the GNU C library, or a variable sets it")
    import torch

    from abawkit.models.config import NETWORKS
    from abawkit.models.inference import make_model_input, place_network
    from abawkit.models.network import DDAMFN

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = DDAMFN(NETWORKS[network]).train()
    place_network(model, torch.device("cpu"))
    optimizer = torch.optim.AdamW(model.parameters())
    batch = make_model_input(torch.randn(images, 3, model.config.resolution, model.config.resolution))
    times, faults = [], 0
    for step in range(steps + 1):
        if step == 1:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        started = time.perf_counter()
        optimizer.zero_grad()
        sum(output.square().mean() for output in model(batch)[:3]).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Measured(statistics.median(times[1:]), (usage.ru_minflt - faults) / steps, usage.ru_maxrss / 1024)


def main() -> None:
    """Runs both kinds in turn and prints medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="ddamfn-nano")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("default", "kept"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(*run_steps(given.network, given.images, given.steps, given.threads, keep=given.child == "kept"))
        return
    found: dict[str, list[Measured]] = {"default": [], "kept": []}
    for _ in range(given.rounds):
        for kind, results in found.items():
            command = [sys.executable, *sys.argv, "--child", kind]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(Measured(*map(float, printed.split())))
    print(f"{given.network}, {given.images} images a step, {given.threads} threads; {given.rounds} interleaved rounds")
    medians = {kind: Measured(*map(statistics.median, zip(*rows, strict=True))) for kind, rows in found.items()}
    for kind, (seconds, faults, peak) in medians.items():
        print(f"{kind:8} {given.images / seconds:8.1f} images/s  {faults:9.0f} page faults a step  {peak:6.0f} MiB")
    ratios = [a.seconds / b.seconds for a, b in zip(*found.values(), strict=True)]
    print(f"kept / default: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
