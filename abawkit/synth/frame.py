"""One frame of the release: a person's face, in a pose, filmed and compressed."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abawkit.synth.face import Face
from abawkit.synth.nuisance import align, compress, develop, film, hold
from abawkit.synth.population import person
from abawkit.synth.rates import SPLITS, Split


class VideoRenderer:
    """Draws frames of one video; each depends on seed, split, video and frame number alone, not on the others.

    Args:
        seed: Seed of the release.
        split: Split of the video.
        video: Index of the video in its split.
        difficulty: Strength of the nuisances, 0..1; at 0 there are none.
    """

    def __init__(self, seed: int, split: Split, video: int, difficulty: float) -> None:
        self._key = [seed, SPLITS.index(split), 4, video]
        self._difficulty = difficulty
        self._shot = film(difficulty, np.random.default_rng(self._key))
        self._face = Face(person(seed, split, video))

    def image(self, frame: int, intensity: NDArray[np.float64]) -> Image.Image:
        """Draws one frame.

        Args:
            frame: Frame number.
            intensity: Intensity of each of the 17 action units, 0..1; shape (17,).

        Returns:
            RGB, 112 x 112.
        """
        rng = np.random.default_rng([*self._key, frame])
        pose = hold(self._shot, frame, self._difficulty, rng)
        drawn = self._face.draw(intensity, pose.turn, pose.gaze)
        return develop(align(drawn, pose), self._shot, self._difficulty, rng)

    def jpeg(self, frame: int, intensity: NDArray[np.float64]) -> bytes:
        """`image`, compressed as this video is."""
        return compress(self.image(frame, intensity), self._shot.quality)
