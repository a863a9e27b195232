"""The constant answer: what a submission scores that looks at no frame."""

import numpy as np
import pyarrow as pa

from abawkit.tables import Annotations, Submission


def constant_answer(train: Annotations, images: pa.StringArray) -> Submission:
    """The same answer for every frame: mean V and A, the commonest expression, every action unit active.

    Its CCC is 0. Of all constant answers for an action unit, only "active" has an F1 above 0.

    Args:
        train: Annotations that the means and the commonest class are taken from.
        images: The frames to answer.
    """
    count = len(images)
    means = train.va[train.va_valid].mean(axis=0) if train.va_valid.any() else np.zeros(2)
    commonest = np.bincount(train.expression[train.expression_valid], minlength=1).argmax()
    return Submission(
        images=images,
        va=np.tile(np.round(means, 6), (count, 1)),
        expression=np.full(count, commonest, dtype=np.int8),
        au=np.ones((count, train.au.shape[1]), dtype=np.int8),
    )
