"""Curate, train for one epoch, predict and score: `python examples/quickstart.py`.

It needs no data: it writes a synthetic release of 300 frames, and everything else, into the folder `quickstart`. Expect
one line with a score above 0 and far below what a trained network reaches: one epoch on 180 frames teaches it little.
"""

import abawkit


def main() -> None:
    """Runs all five steps."""
    abawkit.write_release("quickstart/release", size="tiny")
    abawkit.curate("quickstart/release", "quickstart/curated", policy="per-task")
    abawkit.train("demo", "quickstart/curated", "quickstart/run", changes={"all.epochs": 1})
    abawkit.predict(
        "quickstart/run",
        "quickstart/predictions.txt",
        frame_list="quickstart/release/test_set_examples/MTL.txt",
        frames="quickstart/release/test_data/cropped_aligned",
    )
    score = abawkit.score("quickstart/predictions.txt", "quickstart/release/held_out/test_set_annotations.txt")
    print(f"P {score.score:.4f} = {score.ccc_va:.4f} (VA) + {score.expression_f1:.4f} (EXPR) + {score.au_f1:.4f} (AU)")


if __name__ == "__main__":  # frames are rendered by processes that import this file
    main()
