"""Scores of submissions, and rules that raise them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from abawkit.api._arguments import Progress, StrPath, as_list, as_paths, warn
from abawkit.choices import Protocol, TruthSplit
from abawkit.claims import claim_file, hold_claims
from abawkit.errors import ConfigError, DataError, DataWarning, format_count
from abawkit.labels import TASKS

if TYPE_CHECKING:  # they take longer to import than all that is refused before they are needed
    from abawkit.formats.base import Container
    from abawkit.probabilities.members import StoredMember
    from abawkit.scoring.comparison import Comparison
    from abawkit.scoring.score import Score
    from abawkit.tables import Annotations, Submission
    from abawkit.tuning.cross_validation import Tuning


@hold_claims()
def score(
    submission: StrPath,
    truth: StrPath,
    *,
    split: TruthSplit | None = None,
    protocol: Protocol = "official",
    format_name: str = "abaw7",
    test_videos: int | None = None,
    report: StrPath | None = None,
    force: bool = False,
) -> Score:
    """Scores a submission as the challenge does, with a forecast for a test of other videos, and in detail.

    Args:
        submission: The file or folder.
        truth: Annotations, or a curated set, of which the validation rows are the truth, or those of `split`.
        split: Which rows of a curated set are the truth: ``"validation"`` (the default), ``"train"`` or
            ``"train+validation"``; of training, those that its policy keeps.
        protocol: ``"official"``: each task on the rows where it is annotated; ``"strict"``: all tasks on the rows where
            every task is.
        format_name: Format of the submission.
        test_videos: Videos of the test that the forecast is for; by default as many as are scored.
        report: Write tables and charts to this file, one HTML page that needs no other file. Where the probabilities
            of the submission lie beside it, as `predict` leaves them, it shows how far they can be trusted.
        force: Whether a report at `report` is replaced.

    Returns:
        The score and its parts, with `details` and, as `other`, the score under the other protocol. The forecast is
        None where all scored rows are of one video; compound expressions have none of the three.

    Raises:
        ConfigError: If there is no such format, `test_videos` can't be used, or `report` can't be written.
        DataError: If a file is absent or not what it must be.
        ProblemsError: If cells are wrong, or the rows of the submission are not those of the truth.

    Example:
        >>> found = abawkit.score("validation.txt", "curated")
        >>> found.score == found.ccc_va + found.expression_f1 + found.au_f1
        True
    """
    from abawkit.formats.base import get_format
    from abawkit.scoring.matching import match_rows, score_rows
    from abawkit.tables import Annotations

    given, answer = Path(submission), Path(truth)
    if test_videos is not None and test_videos < 1:
        raise ConfigError(f"--test-videos: got {test_videos}, expected 1 or more")
    if given.exists() and answer.exists() and given.samefile(answer):
        warn(f"{given} is its own --truth: what it scores against itself says nothing")
    if report is not None:
        from abawkit.reports.page import REPORT

        claim_file(Path(report), force=force, kind=REPORT, inputs=[given, answer])
    right, answers = match_rows(given, answer, get_format(format_name), split)
    result = score_rows(right, answers, protocol)
    if not isinstance(right, Annotations):
        for option, wanted in (("--test-videos", test_videos), ("--report", report)):
            if wanted:
                raise ConfigError(f"{option}: compound expressions have no forecast and no details; leave it out")
        return result
    result = _add_other(_add_details(result, right, answers, test_videos), right, answers, test_videos)
    if report is not None:
        from abawkit.reports.page import write_page
        from abawkit.reports.score import make_score_page

        member = _find_probabilities(given, answers)
        files = [("Submission", given), ("Truth", answer)]
        files += [("Probabilities", member.path)] if member else []
        write_page(Path(report), make_score_page(result, right, answers, member=member, files=files))
    return result


def _find_probabilities(submission: Path, answers: Submission) -> StoredMember | None:
    """The probabilities beside a file, as `predict` leaves them, if its decisions are made of them."""
    from abawkit.postprocessing.outputs import decide
    from abawkit.probabilities.members import read_member

    path = submission.with_suffix(".npz")
    if not submission.is_file() or not path.is_file():
        return None
    try:
        member = read_member(path)
    except DataError as error:
        warn(f"no reliability in the report: {str(error).splitlines()[0]}")
        return None
    decided, tasks = decide(member.predictions, member.tasks), {"expression", "au"} & {*answers.tasks, *member.tasks}
    same = decided.images.equals(answers.images) and set(answers.tasks) <= set(member.tasks)
    if not same or any((getattr(decided, task) != getattr(answers, task)).any() for task in tasks):
        warn(f"no reliability in the report: {path} is not what {submission} was decided from")
        return None
    return member


def _add_details(result: Score, right: Annotations, answers: Submission, test_videos: int | None) -> Score:
    from abawkit.scoring.details import describe_score
    from abawkit.scoring.forecast import make_forecast

    return replace(
        result,
        forecast=make_forecast(right, answers, result.protocol, test_videos),
        details=describe_score(right, answers, result.protocol),
    )


def _add_other(result: Score, right: Annotations, answers: Submission, test_videos: int | None) -> Score:
    """Adds the score under the other protocol, where a row counts there; its warnings are those of this one."""
    from abawkit.scoring.matching import score_rows
    from abawkit.scoring.score import PROTOCOLS

    (protocol,) = (each for each in PROTOCOLS if each != result.protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            other = score_rows(right, answers, protocol)
        except DataError:
            return result
    return replace(result, other=_add_details(other, right, answers, test_videos))


@hold_claims()
def compare(
    submissions: Sequence[StrPath],
    truth: StrPath | None = None,
    *,
    protocol: Protocol = "official",
    format_name: str = "abaw7",
    report: StrPath | None = None,
    force: bool = False,
) -> Comparison:
    """Compares submissions for one list: what they answer differently, and whether one is better by more than noise.

    Args:
        submissions: Two or more files or folders, or folders of submissions that were run.
        truth: Annotations, or a curated set, whose validation rows are the truth; None to compare the answers alone.
        protocol: The protocol that comes first, as for `score`.
        format_name: Format of the submissions.
        report: Write tables and charts to this file, one HTML page that needs no other file.
        force: Whether a report at `report` is replaced.

    Returns:
        For every two submissions what differs and, with a truth, the scores under both protocols and the difference of
        every two, with 95 % intervals.

    Raises:
        ConfigError: If there is no such format, there are fewer than 2 submissions or more than 20, compound
            expressions have a truth, or `report` can't be written.
        DataError: If a file is absent or not what it must be, submissions are not for the same rows and tasks, or all
            scored rows are of one video.
        ProblemsError: If cells are wrong, or the rows of a submission are not those of the truth.

    Example:
        >>> found = abawkit.compare(["validation.txt", "validation.txt"], "curated")  # one against itself
        >>> found.scores["official"].find_difference(0, 1)["score"].within_noise
        True
    """
    from abawkit.formats.base import get_format
    from abawkit.scoring.changes import compare_submissions
    from abawkit.scoring.comparison import MOST_SUBMISSIONS, Comparison, compare_under_both, name_submissions
    from abawkit.scoring.matching import match_rows
    from abawkit.scoring.scored_rows import warn_of_unannotated
    from abawkit.tables import Annotations

    given = as_paths(submissions) or []
    if not 2 <= len(given) <= MOST_SUBMISSIONS:
        raise ConfigError(f"got {format_count(len(given), 'submission')}, expected 2 to {MOST_SUBMISSIONS} to compare")
    if report is not None and truth is None:
        raise ConfigError("--report does nothing without --truth: give that too, or leave it out")
    plugin = get_format(format_name)
    paths = [_find_written(path, plugin.container) for path in given]
    if report is not None:
        from abawkit.reports.page import REPORT

        claim_file(Path(report), force=force, kind=REPORT, inputs=[*paths, Path(truth or ".")])
    names, read = name_submissions(given), [plugin.read(path) for path in paths]
    pairs = list(combinations(range(len(paths)), 2))
    changes = {(first, second): compare_submissions(read[first], read[second]) for first, second in pairs}
    if truth is None:
        return Comparison(names, tuple(paths), changes, {})
    matched = [match_rows(path, Path(truth), plugin) for path in paths]
    right, answers = matched[0][0], [answer for _, answer in matched]
    if not isinstance(right, Annotations):
        raise ConfigError(f"--truth {truth}: no interval for compound expressions; `abawkit score` scores each alone")
    warn_of_unannotated(right, [task for task in TASKS if task in answers[0].tasks], protocol)
    scores = compare_under_both(right, answers, names, protocol)
    found = Comparison(names, tuple(paths), changes, scores)
    if report is not None:
        from abawkit.reports.compare import make_comparison_page
        from abawkit.reports.page import write_page

        write_page(Path(report), make_comparison_page(found, right, answers, Path(truth)))
    return found


def _find_written(path: Path, container: Container) -> Path:
    """The submission itself, where `path` is the folder of its recipe."""
    if not (path / "recipe.toml").is_file():
        return path
    written = path / "outputs" / ("predictions.txt" if container == "file" else "predictions")
    if not written.exists():
        raise DataError(f"{written}: not there yet; `abawkit submit {path}` writes it")
    return written


@hold_claims()
def tune(
    members: StrPath | Sequence[StrPath],
    truth: StrPath,
    out: StrPath,
    *,
    split: TruthSplit | None = None,
    smoothing: bool = True,
    calibration: bool = True,
    tasks: str | Sequence[str] = (),
    weights: bool = True,
    pool: bool = True,
    folds: int = 10,
    protocol: Protocol = "official",
    seed: int = 0,
    report: StrPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Searches smoothing, calibration, weights and pool of stored probabilities, and writes the rule that it finds.

    Args:
        members: Files of probabilities of the annotated rows, one for each member of the ensemble.
        truth: Annotations, or a curated set, of which the validation rows are the truth, or those of `split`.
        out: The rule to write (``.json``), for `predict`.
        split: Which rows of a curated set are the truth: ``"validation"`` (the default), ``"train"`` or
            ``"train+validation"``; of training, those that its policy keeps.
        smoothing: Whether smoothings are tried.
        calibration: Whether thresholds, biases, scales and shifts are tried.
        tasks: The only tasks that may be calibrated.
        weights: Whether other weights of the members than equal ones are tried.
        pool: Whether the mean of logits is tried beside that of probabilities.
        folds: Folds of videos for cross-validation, 2 or more.
        protocol: The rows that count, as for `score`.
        seed: Random seed.
        report: Write what was fitted, its gain and what was tried to this file, one HTML page.
        force: Whether a rule at `out`, and a report at `report`, are replaced.
        progress: Called with the number of searches done and the number to do.

    Returns:
        The rule, and its scores on videos that the search did not see.

    Raises:
        ConfigError: If an argument can't be used, or `out` or `report` can't be written.
        DataError: If the rows of a member are not those of the truth, or too few videos are annotated.

    Example:
        >>> tuning = abawkit.tune("validation.npz", "curated", "rule.json", folds=2)
        >>> sorted(tuning.cross_fitted)
        ['au_f1', 'ccc_va', 'expression_f1', 'score']
    """
    from abawkit.inspection.output_kinds import RULE
    from abawkit.postprocessing.rule import write_rule
    from abawkit.probabilities.members import read_members, warn_of_training_rows
    from abawkit.scoring.matching import read_truth
    from abawkit.scoring.scored_rows import warn_of_unannotated
    from abawkit.tuning import tune as tuning
    from abawkit.tuning.cross_validation import parse_tasks

    paths, answer, rule = as_paths(members) or [], Path(truth), Path(out)
    chosen = parse_tasks(as_list(tasks))
    if chosen and not calibration:
        raise ConfigError(
            "--tasks names what is calibrated, and --no-calibration says that nothing is; give one of them"
        )
    if not (smoothing or calibration or (len(paths) > 1 and (weights or pool))):
        alone = "one member has neither weights nor a pool; " if len(paths) == 1 and (weights or pool) else ""
        raise ConfigError(f"{alone}nothing is left to search: leave out one of --no-smoothing, --no-calibration")
    claim_file(rule, force=force, kind=RULE, inputs=[*paths, answer])
    if report is not None:
        from abawkit.reports.page import REPORT

        claim_file(Path(report), force=force, kind=REPORT, inputs=[*paths, answer, rule])
    found, annotations = read_members(paths), read_truth(answer, split)
    warn_of_training_rows(found)
    warn_of_unannotated(annotations, {task for member in found for task in member.tasks}, protocol)
    result = tuning.tune(
        found,
        annotations,
        calibration=chosen if calibration else (),
        smoothing=smoothing,
        weights=weights,
        pool=pool,
        protocol=protocol,
        folds=folds,
        seed=seed,
        progress=progress,
    )
    write_rule(rule, result.rule, result.evidence())
    if report is not None:
        from abawkit.reports.page import write_page
        from abawkit.reports.tuning import make_tuning_page

        write_page(Path(report), make_tuning_page(result, rule, answer))
    return result
