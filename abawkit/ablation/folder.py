"""The folder of an ablation: what lies where in it, and what it was begun with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from abawkit.choices import Policy
from abawkit.errors import ConfigError, printable
from abawkit.files import new_folder, write_json

BEGUN: Final = "begun.json"


@dataclass(frozen=True)
class Folder:
    """The folder of an ablation.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def release(self) -> Path:
        """The drawn release, where none was given."""
        return self.root / "release"

    @property
    def pretraining(self) -> Path:
        """What the stand-in for pre-trained weights is made of."""
        return self.root / "pretraining"

    @property
    def start(self) -> Path:
        """The stand-in for pre-trained weights."""
        return self.pretraining / "backbone.safetensors"

    def curated(self, policy: Policy) -> Path:
        """The curated set of a policy."""
        return self.root / policy

    def run(self, seed: int, name: str) -> Path:
        """A run's folder."""
        return self.root / "runs" / f"seed{seed}" / name

    def prediction(self, seed: int, variant: str) -> Path:
        """What a variant's networks say of the validation rows, as a submission; the probabilities lie beside it."""
        return self.root / "predictions" / f"seed{seed}" / f"{variant}.txt"


def open_folder(root: Path, begun: dict[str, Any]) -> Folder:
    """Makes the folder of an ablation, or takes it up where an ablation left it.

    Args:
        root: The folder.
        begun: What the ablation is made of; noted in a new folder.

    Raises:
        ConfigError: If it holds anything but an ablation of the same, or can't be written to.
    """
    note = root / BEGUN
    found = _read(note)
    if found is None:
        new_folder(root, force=False)
        write_json(note, begun)
    elif found != begun:
        keys = [key for key in {**found, **begun} if found.get(key) != begun.get(key)]
        differences = [printable(f"  {key}: was {found.get(key)}, is {begun.get(key)}") for key in keys]
        advice = "give another --out, or remove this folder"
        raise ConfigError("\n".join([f"{root}: holds an ablation of something else:", *differences, advice]))
    return Folder(new_folder(root, force=True))


def _read(note: Path) -> dict[str, Any] | None:
    """What a folder's ablation was begun with; None where it holds none."""
    try:
        content = json.loads(note.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{note}: can't be read ({error}); give another --out, or remove this file") from error
    return content if isinstance(content, dict) else {}
