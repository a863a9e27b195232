"""An ablation from end to end; a second call redoes only what is not there."""

from pathlib import Path

from abawkit.ablation.networks import Choices, make_networks
from abawkit.ablation.report import Report, report
from abawkit.ablation.rows import Bench
from abawkit.ablation.runs import Means
from abawkit.choices import Protocol


def ablate(choices: Choices, out: Path, means: Means, *, protocol: Protocol = "official") -> Report:
    """Trains, predicts, fits and scores all variants, and writes the table.

    Args:
        choices: What is compared.
        out: Folder for everything; one that was begun with the same release and weights is taken up.
        means: How steps are run.
        protocol: The protocol of the main figures, and what knobs are fitted for.

    Raises:
        ConfigError: If the recipe has nothing to compare, or the folder holds something else.
        DataError: If the release is not what it must be, or has too few annotated videos.
        StepError: If a step fails; what was done is kept.
    """
    networks = make_networks(choices, out, means)
    bench = Bench(networks, protocol, means.say)
    videos = bench.judge.videos(protocol)
    result = report(bench.rows(), networks, choices, protocol, videos)
    result.write(out)
    return result
