"""Check and score a submission that any other system wrote: `python examples/score_external_submission.py`.

With three paths, SUBMISSION LIST TRUTH, it checks and scores that file. Without any, it writes a synthetic release into
the folder `external`, and a submission whose valence is half the truth and whose other answers are right. Expect

    ok: 70 rows, as listed
    P 2.8988: valence 0.7976, arousal 1.0000, expressions 1.0000, action units 1.0000

and a forecast, which is wide, as there are six videos.
"""

import sys
from pathlib import Path

import abawkit
from abawkit.formats.base import get_format


def write_example(folder: Path) -> tuple[Path, Path, Path]:
    """Writes labels, and a file that answers the list, as another system would: as plain text."""
    abawkit.write_release(folder / "release", size="tiny", labels_only=True)
    truth, listed = folder / "release/held_out/test_set_annotations.txt", folder / "release/test_set_examples/MTL.txt"
    lines = ["image,valence,arousal,expression,aus"]
    for line in truth.read_text().splitlines()[1:]:
        image, valence, arousal, expression, *units = line.split(",")
        halved = max(float(valence), -1) / 2  # -5 and -1 mark what is not annotated: it is answered all the same
        answered = [f"{halved:.6f}", f"{max(float(arousal), -1):.6f}", str(max(int(expression), 0))]
        lines.append(",".join([image, *answered, *(str(max(int(unit), 0)) for unit in units)]))
    submission = folder / "submission.txt"
    submission.write_text("\n".join(lines) + "\n")
    return submission, listed, truth


def main() -> None:
    """Checks every row against the list, then scores."""
    given = tuple(Path(path) for path in sys.argv[1:])
    submission, listed, truth = given or write_example(Path("external"))
    official = get_format("abaw7")
    rows = official.read_list(listed)
    if problems := official.check(submission, rows):
        sys.exit("\n".join(problem.text(submission) for problem in problems))
    print(f"ok: {len(rows)} rows, as listed")
    score = abawkit.score(submission, truth)
    print(f"P {score.score:.4f}: valence {score.ccc_valence:.4f}, arousal {score.ccc_arousal:.4f}, ", end="")
    print(f"expressions {score.expression_f1:.4f}, action units {score.au_f1:.4f}")
    if score.forecast:
        videos, expected = score.forecast.test_videos, score.forecast.parts["score"]
        print(f"a test of {videos} other videos scores {expected.low:.4f} to {expected.high:.4f}, 95 times in 100")


if __name__ == "__main__":
    main()
