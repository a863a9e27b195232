"""The manifest of a submission: what its file was made of, and what it scores on validation."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from abawkit.choices import Policy, Protocol
from abawkit.labels import Task
from abawkit.scoring.bootstrap import Interval
from abawkit.submissions.recipe import Epoch
from abawkit.system.files import write_json
from abawkit.system.json_records import read_json

MANIFEST: Final = "manifest.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
MOST_CHARACTERS: Final = 10_000
Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Scores(_Part):
    """A score and its parts, as `abawkit.scoring.score.Score` has them; 0 for tasks that are not scored."""

    ccc_va: FiniteFloat
    expression_f1: FiniteFloat
    au_f1: FiniteFloat
    score: FiniteFloat


class Range(_Part):
    """A figure with its interval, as `abawkit.scoring.bootstrap.Interval` has it."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    level: FiniteFloat

    @property
    def within_noise(self) -> bool:
        """As of `abawkit.scoring.bootstrap.Interval`."""
        return Interval(**self.model_dump()).within_noise


class MemberScores(_Part):
    """What one member scores alone, with plain decisions.

    Attributes:
        name: Of its files.
        key: What the rule calls it.
        validation: Its score.
    """

    name: Text
    key: Text
    validation: Scores


class Validation(_Part):
    """What the submission scores on validation.

    Attributes:
        protocol: Which rows count.
        tasks: The tasks that are scored.
        fitted: Whether anything was fitted on validation; if not, cross-fitted and in-sample figures are the same.
        folds: Folds of videos.
        crossfitted: On videos that the fit did not see. The figure to go by.
        interval: Forecast of its P for a test of `test_videos` videos; see `abawkit.scoring.forecast`.
        test_videos: Videos of the list that was answered; 0 in a manifest of before, whose interval is no forecast.
        in_sample: On the videos that everything was fitted on: too good.
        untuned: The mean of the members, with nothing fitted.
        gain: P of the submission, cross-fitted, less P of that mean; the same draws of videos for both, so that its
            interval is narrower than a forecast.
        members: Each member alone.
        best_member: The best of them, chosen on the same validation, which favours it.
        difference: P of the submission, cross-fitted, less P of that member, likewise.
        notes: What was left untuned and why, and what makes figures too good.
    """

    protocol: Protocol
    tasks: list[Task]
    fitted: bool
    folds: Count
    crossfitted: Scores
    interval: Range
    test_videos: Count = 0
    in_sample: Scores
    untuned: Scores
    gain: Range
    members: list[MemberScores]
    best_member: Text
    difference: Range
    notes: list[Text]


class TrainedNetwork(_Part):
    """One network.

    Attributes:
        name: Of its run.
        seed: Its seed.
        sha256: Of the file of weights that was used.
        code: Digest of the code that trained it, as its run says; None where that says nothing.
        git: Commit that it was trained at, likewise.
    """

    name: Text
    seed: Count
    sha256: Digest
    code: Text | None = None
    git: Text | None = None


class Written(_Part):
    """The official file: its path within the folder, its SHA-256 and its rows; rows answered from another frame."""

    file: Literal["outputs/predictions.txt", "outputs/predictions"]
    sha256: Digest
    rows: Count
    filled: Count


class Manifest(_Part):
    """What is kept of a submission, in ``manifest.json``.

    Attributes:
        manifest: Version of this form.
        abawkit: Version that wrote it.
        name: Of the submission's folder.
        summary: Of its recipe.
        written: When, ISO 8601.
        git: Commit that was checked out, with ``+changes`` if files differed from it; None outside of git.
        recipe_sha256: Of recipe.toml.
        format: Of the official file.
        policy: Of the curated set.
        epoch: Which weights of each run were used.
        table_sha256: Of the curated set's table.
        list_digest: Of the list's image names in their order.
        frames_digest: Of names, sizes and times of the list's frames.
        weights_sha256: Of the file that training started from, or None.
        networks: What was trained.
        rule_sha256: Of the rule.
        submission: The official file.
        validation: What it scores.
        environment: Versions and hardware of the prediction.
    """

    manifest: Annotated[int, Field(ge=1, le=1)] = 1
    abawkit: Text
    name: Text
    summary: Text
    written: Text
    git: Text | None
    recipe_sha256: Digest
    format: Text
    policy: Policy
    epoch: Epoch
    table_sha256: Digest
    list_digest: Digest
    frames_digest: Digest
    weights_sha256: Digest | None
    networks: list[TrainedNetwork]
    rule_sha256: Digest
    submission: Written
    validation: Validation
    environment: dict[str, Any]


def read_manifest(folder: Path) -> Manifest | None:
    """Reads the manifest of a submission; None where it was never run.

    Raises:
        DataError: If the file is not what `abawkit submit` writes.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    return read_json(path, Manifest, "the manifest of a submission", f"run `abawkit submit {folder}` again")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of a submission, whole or not at all."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
