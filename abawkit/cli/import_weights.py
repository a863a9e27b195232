"""``abawkit import-weights``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli.command import command, print_json
from abawkit.cli.options import Force, Json
from abawkit.errors import DataError


@command
def import_weights(
    file: Annotated[Path, typer.Argument(help="Published DDAMFN checkpoint (.pth).")],
    out: Annotated[Path, typer.Option("--out", help="The .safetensors file to write.")],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Convert published DDAMFN weights, without running any code that the file may hold.

    What no forward pass uses is dropped and listed; the expression classifier too, as its classes are AffectNet's.

    Example: abawkit import-weights affecnet8_epoch25_acc0.6469.pth --out ddamfn-affectnet8.safetensors
    """
    from abawkit.cli.claims import claim_file
    from abawkit.inspection.output_kinds import WEIGHTS

    claim_file(out, force=force, kind=WEIGHTS, inputs=[file])
    if not file.is_file():
        raise DataError(f"{file}: no such file; give published weights of DDAMFN (.pth)")

    from abawkit.models.published import import_published, save_imported

    imported = import_published(file)
    save_imported(imported, out)
    if as_json:
        content = {"out": str(out), "classes": imported.classes, "source_sha256": imported.digest}
        print_json({**content, "tensors": len(imported.state), "dropped": imported.dropped})
        return
    print(f"{out}: {len(imported.state)} tensors of the network")
    print(f"left out: the classifier of {imported.classes} classes, {len(imported.dropped)} unused tensors")
    for key in imported.dropped:
        print(f"  {key}")
