"""The values of options, each defined once; without slow imports, so that the command line can read them."""

from typing import Final, Literal, get_args

Policy = Literal["strict", "per-task"]
"""``strict``: a row is kept if all 15 of its values are annotated (https://arxiv.org/abs/2407.12390, section 3).
``per-task``: a row is kept if at least one task is; the losses mask the others."""

Repeats = Literal["keep", "unique"]
"""``keep``: repeated rows stay, as in the published counts. ``unique``: one row an image, and none where the labels of
its rows conflict."""

Protocol = Literal["official", "strict"]
"""``official``: each task is scored on the rows where it is annotated. ``strict``: all tasks on the rows where every
task is, as in the tables of https://arxiv.org/abs/2407.12390."""

Pooling = Literal["linear", "log"]
"""How members' probabilities become one: ``linear``, their mean; ``log``, the mean of their logits. Valence and arousal
are always averaged."""

Split = Literal["train", "validation"]

FoldsOver = Literal["train", "train+validation"]
"""The rows that folds of training divide."""

TruthSplit = Literal["validation", "train", "train+validation"]
"""The rows of a curated set that are the truth: of ``train``, those that its policy keeps."""

PackedForm = Literal["raw", "encoded"]
"""How frames are packed. ``raw``: their pixels, 37,632 bytes a frame, read without decoding. ``encoded``: the bytes of
their image files, a tenth of that for JPEG, decoded when they are read. The pixels are the same, bit for bit."""

Missing = Literal["refuse", "neighbour"]
"""``refuse``: a frame that can't be read is an error. ``neighbour``: its row is answered as the nearest frame of its
video is. Of imported features: a row without them, and those of the nearest frame."""

InferencePrecision = Literal["float32", "bfloat16"]
"""What networks compute with when they predict. ``bfloat16``: factors of large products are rounded to bfloat16."""

MAX_MISSING = 0.001
"""Share of frames that may be missing or unreadable: a few files of a large release are lost in copying; more than
that means another folder, or half a copy."""

MAX_NOT_CROPS = 0.01
"""Share of frames whose size no aligned crop has (not square, or tiny): a few may come out so at the edge of a picture;
more than that are pictures that were never cropped."""

MIN_STRENGTH = 0.9
"""Share that a suggestion has at least in the mean probability of itself and the label that it contradicts."""

ExportForm = Literal["torch", "onnx"]
"""``torch``: a program of `torch.export` (``.pt2``). ``onnx``: for ONNX Runtime and others."""

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
"""Where a run also logs its metrics, on request; each is an extra of this name."""

TRACKERS: Final[tuple[TrackerName, ...]] = get_args(TrackerName)
