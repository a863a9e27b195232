"""What ``abawkit train --dry-run`` shows."""

from datetime import timedelta
from typing import TYPE_CHECKING

from abawkit.cli.command import print_json
from abawkit.cli.display import show_table

if TYPE_CHECKING:
    from abawkit.training.inputs import Inputs
    from abawkit.training.recipe import Recipe


def rehearse(recipe: "Recipe", inputs: "Inputs", as_json: bool) -> None:
    """Runs one batch and shows what the whole run would take."""
    from abawkit.training.rehearsal import rehearse

    found = rehearse(recipe, inputs)
    if as_json:
        print_json(found.as_dict())
        return
    gib = f"{found.peak_memory / 2**30:.2f} GiB"
    made_by = found.environment
    rows = [
        ("network", f"{recipe.network}, {found.parameters:,} parameters, {found.trainable:,} trained"),
        ("rows", f"{found.rows:,} training, {found.validation_rows:,} validation"),
        ("device", f"{made_by['device']}, {made_by['threads']} threads"),
        ("operator", ", ".join(made_by["ops"].values())),
        ("first batch", ", ".join(f"{name} {value:.3f}" for name, value in found.losses.items())),
        ("peak memory", gib),
        ("speed", f"{found.images_per_second:.0f} images/s, {found.validation_images_per_second:.0f} in validation"),
        ("checkpoint", f"{found.checkpoint_bytes / 2**20:.1f} MiB, {recipe.checkpoints.keep} are kept"),
        ("steps", f"{found.steps:,} of {recipe.batch_size}"),
        ("time", str(timedelta(seconds=round(found.seconds)))),
    ]
    show_table("Dry run: nothing was written", ["what", "found"], rows)
