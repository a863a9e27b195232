"""``abawkit import-weights``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abawkit.cli._command import command, print_json
from abawkit.cli._options import Force, Json
from abawkit.errors import format_count, printable

if TYPE_CHECKING:
    from abawkit.models.published import ImportedWeights


@command
def import_weights(
    file: Annotated[Path, typer.Argument(help="Published weights of DDAMFN or its backbone (.pth, .safetensors).")],
    out: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="Which weights to take, where the file holds several.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Convert published DDAMFN weights, without running any code that the file may hold.

    A state dict is found under any key and behind any prefix. What no forward pass uses is dropped; the expression
    classifier too, as its classes are AffectNet's. --json lists all that was left out.

    Example: abawkit import-weights affecnet8_epoch25_acc0.6469.pth --out ddamfn-affectnet8.safetensors
    """
    from abawkit.claims import claim_file
    from abawkit.inspection.output_kinds import WEIGHTS
    from abawkit.models.weight_files import detect_container

    claim_file(out, force=force, kind=WEIGHTS, inputs=[file])
    detect_container(file)

    from abawkit.models.published import import_published, save_imported

    imported = import_published(file, key)
    save_imported(imported, out)
    if as_json:
        content = {"out": str(out), "classes": imported.classes, "source_sha256": imported.digest}
        content |= {"key": imported.key, "attention_heads": 0 if imported.backbone else imported.config.attention_heads}
        left_out = {"others": imported.others, "beside": imported.beside}
        print_json({**content, "tensors": len(imported.state), "dropped": imported.dropped, **left_out})
        return
    for line in _lines(imported, out):
        print(printable(line))


def _lines(imported: "ImportedWeights", out: Path) -> list[str]:
    """What was taken, and what was left out, as families and counts."""
    from abawkit.models.config import name_network
    from abawkit.models.published_keys import summarise_unused

    under = f", from '{imported.key}'" if imported.key else ""
    if imported.backbone:
        lines = [f"{out}: {len(imported.state)} tensors of ddamfn's backbone{under}"]
        lines.append("not in the file: the attention, which will start from random numbers")
    else:
        lines = [f"{out}: {len(imported.state)} tensors of {name_network(imported.config)}{under}"]
    if imported.dropped:
        families = ", ".join(f"{count} of {names}" for names, count in summarise_unused(imported.dropped))
        count = format_count(len(imported.dropped), "tensor")
        lines.append(f"left out: {count} that no forward pass uses ({families})")
    if imported.classes:
        lines.append(f"left out: the classifier of {imported.classes} classes")
    if imported.beside:
        count = format_count(len(imported.beside), "entry", "entries")
        lines.append(f"left out: {count} beside the network's tensors, the first '{imported.beside[0]}'")
    lines += [f"left out: '{name}', other weights of the network; --key {name} takes them" for name in imported.others]
    return lines
