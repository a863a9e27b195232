"""The manifest of a submission: the inputs of its official file, and its scores on validation."""

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
MAX_CHARACTERS: Final = 10_000
Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]


class _ManifestPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Scores(_ManifestPart):
    """A score and its parts, as `abawkit.scoring.score.Score` has them; 0 for tasks that are not scored."""

    ccc_va: FiniteFloat
    expression_f1: FiniteFloat
    au_f1: FiniteFloat
    score: FiniteFloat


class Range(_ManifestPart):
    """A score with its interval, as `abawkit.scoring.bootstrap.Interval` has it."""

    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    level: FiniteFloat

    @property
    def within_noise(self) -> bool:
        """As of `abawkit.scoring.bootstrap.Interval`."""
        return Interval(**self.model_dump()).within_noise


class MemberScores(_ManifestPart):
    """The scores of one member alone, with plain decisions.

    Attributes:
        name: Of its files.
        key: Its key in the rule.
        validation: Its scores.
    """

    name: Text
    key: Text
    validation: Scores


class Validation(_ManifestPart):
    """The scores of a submission on validation.

    Attributes:
        protocol: Determines the rows that are scored.
        tasks: The tasks that are scored.
        fitted: Whether anything was fitted on validation; if not, cross-fitted and in-sample scores are the same.
        folds: Folds of videos.
        crossfitted: On videos that the fit did not see (out-of-fold). The scores to compare by.
        interval: Forecast of its P for a test of `test_videos` videos; see `abawkit.scoring.forecast`.
        test_videos: Videos in the list; 0 in older manifests, whose interval is no forecast.
        in_sample: On the videos that everything was fitted on: too good.
        untuned: The mean of the members, with nothing fitted.
        gain: Cross-fitted P of the submission minus P of that mean; both on the same bootstrap samples, so that its
            interval is narrower than a forecast.
        members: Each member alone.
        best_member: The best of them, chosen on the same validation, which favours it.
        difference: Cross-fitted P of the submission minus P of that member, likewise.
        notes: What was not fitted and why, and what makes scores too good.
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


class TrainedNetwork(_ManifestPart):
    """One network.

    Attributes:
        name: Of its run.
        seed: Its seed.
        sha256: Of the file of weights that was used.
        code: Digest of the code that trained it, from its run's manifest; None if absent there.
        git: Commit that it was trained at, likewise.
    """

    name: Text
    seed: Count
    sha256: Digest
    code: Text | None = None
    git: Text | None = None


class StoredFeatures(_ManifestPart):
    """Features that heads over time read.

    Attributes:
        name: Of the network's run, or of the source.
        flip: Whether those of the mirrored frames were stored too.
        curated: Digest of the names and numbers of the curated set's features.
        test: The same of the list's.
    """

    name: Text
    flip: bool
    curated: Digest
    test: Digest


class OfficialFile(_ManifestPart):
    """The official file: its path within the folder, its SHA-256 and its rows; rows answered from another frame."""

    file: Literal["outputs/predictions.txt", "outputs/predictions"]
    sha256: Digest
    rows: Count
    filled: Count


class Manifest(_ManifestPart):
    """The content of a submission's ``manifest.json``.

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
        epoch: The weights of each run that were used.
        table_sha256: Of the curated set's table.
        list_digest: Of the list's image names in their order.
        frames_digest: Of names, sizes and times of the list's frames.
        weights_sha256: Of the file that training started from, or None.
        networks: The trained networks.
        features: The features that heads over time read; none in older manifests.
        rule_sha256: Of the rule.
        submission: The official file.
        validation: Its scores on validation.
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
    features: list[StoredFeatures] = []
    rule_sha256: Digest
    submission: OfficialFile
    validation: Validation
    environment: dict[str, Any]


def read_manifest(folder: Path) -> Manifest | None:
    """Reads the manifest of a submission; None if it was never run.

    Raises:
        DataError: If the file is not what `abawkit submit` writes.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    return read_json(path, Manifest, "the manifest of a submission", f"run `abawkit submit {folder}` again")


def write_submission_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of a submission, whole or not at all."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
