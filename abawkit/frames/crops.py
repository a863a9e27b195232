"""Checks by their sizes whether frames are aligned face crops; others would silently be resized."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from abawkit.choices import MAX_NOT_CROPS
from abawkit.errors import DataError, DataWarning, list_first, printable
from abawkit.frames.decode import FRAME_SIZE, Conversion
from abawkit.frames.paths import DifferingFrame, FramesRoot, make_frame_folders, search_folders
from abawkit.frames.reader import Chunk

MIN_SIDE: Final = 32
"""Smallest side of a crop, in pixels: below, the movement of lips and eyelids can't be seen."""

FrameSize = tuple[int, int]
"""Width and height in pixels, as a file stores them."""

_SHOWN_SIZES: Final = 3
_MIDDLE: Final = slice(28, 84, 4)
"""Every fourth pixel of the middle half: skin, mostly."""
_MIN_COLOUR_FRAMES: Final = 20
"""Frames from which on their colour is checked: fewer may be of one blue scene."""
_BLUER: Final = 5
"""Levels of 255 by which the mean of blue exceeds that of red if the two seem swapped: skin is redder."""
_EXPECTED_CROPS: Final = (
    f"expected aligned face crops of {FRAME_SIZE} x {FRAME_SIZE} pixels, as in the release's cropped_aligned "
    f"(other square sizes from {MIN_SIDE} x {MIN_SIDE} are resized)"
)
_ADVICE: Final = "give the folder of crops with --frames, or crop and align the faces first: see docs/how-to/curate.md"


def is_crop(size: FrameSize) -> bool:
    """Whether a picture of this size can be an aligned crop: square, with a side of at least `MIN_SIDE`."""
    return size[0] == size[1] and size[0] >= MIN_SIDE


@dataclass
class FrameSummary:
    """Sizes, conversions and colours of the frames of a list, counted as they are read.

    Attributes:
        root: Their folders, for messages.
        total: Frames of the list; those that are missing or unreadable count too.
        read: Frames that were decoded.
        sizes: How many had which size.
        conversions: How many were converted in which way.
        examples: For each size but 112 x 112 the first image that had it.
        black: Images that are black all over, as aligners write them where they find no face.
        colour: Sums of red, green and blue in the middle of the frames, each frame's mean counting once.
        digest: SHA-256 of the pixels in the order of the list, set by the reader; else empty.
        folders: Of several folders, how many images each gives.
        differing: Images that two folders have with different bytes; the first folder's are read.
    """

    root: FramesRoot
    total: int
    read: int = 0
    sizes: Counter[FrameSize] = field(default_factory=Counter)
    conversions: Counter[Conversion] = field(default_factory=Counter)
    examples: dict[FrameSize, str] = field(default_factory=dict)
    black: list[str] = field(default_factory=list)
    colour: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    digest: str = ""
    folders: dict[str, int] = field(default_factory=dict)
    differing: list[DifferingFrame] = field(default_factory=list)

    @classmethod
    def begin(cls, root: FramesRoot, images: Sequence[str]) -> Self:
        """Counts for a list, before its first frame is read.

        Raises:
            DataError: As `abawkit.frames.paths.find_frame_paths`.

        Warns:
            DataWarning: If an image is in two folders with different bytes; they are named.
        """
        counts = cls(root, len(images))
        if len(make_frame_folders(root).folders) > 1:
            counts.folders, counts.differing = search_folders(root, images)
            if counts.differing:
                warnings.warn(_describe_differing(counts.differing), DataWarning, stacklevel=3)
        return counts

    @property
    def not_crops(self) -> int:
        """Frames whose size no aligned crop has."""
        return sum(count for size, count in self.sizes.items() if not is_crop(size))

    def add(self, chunk: Chunk) -> None:
        """Counts a chunk.

        Raises:
            DataError: As soon as more than `MAX_NOT_CROPS` of the whole list can't be crops.
        """
        self.read += len(chunk.rows)
        self.sizes.update(chunk.sizes)
        self.conversions.update(chunk.conversions)
        for size, image in chunk.examples.items():
            self.examples.setdefault(size, image)
        self.black += chunk.black
        self.colour += chunk.pixels[:, _MIDDLE, _MIDDLE].mean(axis=(1, 2)).sum(axis=0)
        if self.not_crops > MAX_NOT_CROPS * self.total:
            raise self._refusal()

    def finish(self) -> None:
        """Checks the whole list when all its chunks have been counted.

        Raises:
            DataError: If more than `MAX_NOT_CROPS` of the frames that were read can't be crops.
        """
        if self.not_crops > MAX_NOT_CROPS * self.read:
            raise self._refusal()

    def warn(self) -> None:
        """Gives a `DataWarning` each for frames that were resized, converted or are black, and for swapped colours."""
        if resized := self.read - self.sizes[FRAME_SIZE, FRAME_SIZE]:
            text = f"{resized:,} of {self.read:,} frames are not {FRAME_SIZE} x {FRAME_SIZE} pixels and were resized: "
            text += self._describe(square=True)
            self._warn(text + (f"; {self.not_crops:,} of them are not square crops" if self.not_crops else ""))
        others = {kind: count for kind, count in self.conversions.items() if kind != "resized"}
        if others:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in others.items())
            self._warn(f"of {self.read:,} frames, some are not 8-bit colour images and were converted: {kinds}")
        if self.black:
            self._warn(
                f"{len(self.black):,} of {self.read:,} frames are black, as where an aligner finds no face: "
                f"{', '.join(list_first(self.black, _SHOWN_SIZES))}"
            )
        red, _, blue = self.colour / max(self.read, 1)
        if self.read >= _MIN_COLOUR_FRAMES and blue > red + _BLUER:
            self._warn(
                f"the middle of the frames is blue (red {red:.0f}, blue {blue:.0f} on average): red and blue may be "
                "swapped, as cv2.imwrite takes BGR, not RGB"
            )

    def _warn(self, text: str) -> None:
        warnings.warn(printable(f"{self.root}: {text}"), DataWarning, stacklevel=4)

    def as_dict(self) -> dict[str, Any]:
        """For manifests; sizes are named as ``112x112``."""
        return {
            "folders": self.folders or {str(self.root): self.read},
            "differing": len(self.differing),
            "read": self.read,
            "not_crops": self.not_crops,
            "sizes": {f"{width}x{height}": count for (width, height), count in self.sizes.most_common()},
            "black": len(self.black),
            "mean_rgb": [round(float(value), 1) for value in self.colour / max(self.read, 1)],
            "conversions": dict(self.conversions),
            **({"pixels_sha256": self.digest} if self.digest else {}),
        }

    def _refusal(self) -> DataError:
        of = f"{self.read:,}" if self.read == self.total else f"the first {self.read:,}"
        found = f"{self.not_crops:,} of {of} frames are not aligned crops: {self._describe(square=False)}"
        return DataError(printable(f"{self.root}: {found}") + f"\n{_EXPECTED_CROPS}\n{_ADVICE}")

    def _describe(self, *, square: bool) -> str:
        """The sizes that occur, the most frequent first, each with its count and an image."""
        sizes: Mapping[FrameSize, int] = {
            size: count
            for size, count in self.sizes.most_common()
            if (square and size != (FRAME_SIZE, FRAME_SIZE)) or not is_crop(size)
        }
        shown = [
            f"{width} x {height} pixels ({count:,}, such as {self.examples[width, height]})"
            for (width, height), count in sizes.items()
        ]
        return ", ".join(list_first(shown, _SHOWN_SIZES, "size"))


def _describe_differing(differing: Sequence[DifferingFrame]) -> str:
    shown = list_first([f"{image} ({taken} and {other})" for image, taken, other in differing])
    images = "1 image is" if len(differing) == 1 else f"{len(differing):,} images are"
    return printable(
        f"{images} in two folders of frames with different bytes; the first folder's is taken: {', '.join(shown)}"
    )
