"""Renders synthetic frames in parallel processes, and a contact sheet of them.

Every frame is a pure function of seed, split, video and number.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abawkit.errors import ConfigError
from abawkit.labels import EXPRESSIONS
from abawkit.synth.action_units import make_prototype
from abawkit.synth.camera import align, compress, develop_frame, hold_pose, plan_shot
from abawkit.synth.face.face import Face
from abawkit.synth.face.pen import CROP
from abawkit.synth.people import make_person
from abawkit.synth.rates import SYNTH_SPLITS, SynthSplit
from abawkit.system.files import count_processors


class VideoRenderer:
    """Renders frames of one video; each depends on seed, split, video and frame number alone, not on the others.

    Args:
        seed: Seed of the release.
        split: Split of the video.
        video: Index of the video in its split.
        difficulty: Strength of the nuisances, 0..1; at 0 there are none.
    """

    def __init__(self, seed: int, split: SynthSplit, video: int, difficulty: float) -> None:
        self._key = [seed, SYNTH_SPLITS.index(split), 4, video]
        self._difficulty = difficulty
        self._shot = plan_shot(difficulty, np.random.default_rng(self._key))
        self._face = Face(make_person(seed, split, video))

    def image(self, frame: int, intensity: NDArray[np.float64]) -> Image.Image:
        """Renders one frame.

        Args:
            frame: Frame number.
            intensity: Intensity of each of the 17 action units, 0..1; shape (17,).

        Returns:
            RGB, 112 x 112.
        """
        rng = np.random.default_rng([*self._key, frame])
        pose = hold_pose(self._shot, frame, self._difficulty, rng)
        face = self._face.draw(intensity, pose.turn, pose.gaze)
        return develop_frame(align(face, pose), self._shot, frame, self._difficulty, rng)

    def jpeg(self, frame: int, intensity: NDArray[np.float64]) -> bytes:
        """`image`, compressed as this video is."""
        return compress(self.image(frame, intensity), self._shot.quality)


_FRAMES_PER_CALL = 64


@dataclass(frozen=True)
class RenderJob:
    """Frames of one video to render.

    Attributes:
        folder: Their folder; made if it does not exist.
        split: Split of the video.
        video: Index of the video in its split.
        frames: Frame numbers; int64, shape (n,).
        intensity: Intensity of each of the 17 action units in each frame, 0..1; float64, shape (n, 17).
        difficulty: Strength of the nuisances, 0..1.
    """

    folder: Path
    split: SynthSplit
    video: int
    frames: NDArray[np.int64]
    intensity: NDArray[np.float64]
    difficulty: float

    def parts(self) -> list["RenderJob"]:
        """The job in pieces so short that workers end together and an interrupt takes effect soon."""
        cuts = range(0, len(self.frames), _FRAMES_PER_CALL)
        pieces = (slice(start, start + _FRAMES_PER_CALL) for start in cuts)
        return [replace(self, frames=self.frames[piece], intensity=self.intensity[piece]) for piece in pieces]


def render_job(job: RenderJob, seed: int) -> int:
    """Renders and writes a job's frames; returns their number."""
    renderer = VideoRenderer(seed, job.split, job.video, job.difficulty)
    job.folder.mkdir(parents=True, exist_ok=True)
    for frame, intensity in zip(job.frames, job.intensity, strict=True):
        (job.folder / f"{frame:05d}.jpg").write_bytes(renderer.jpeg(int(frame), intensity))
    return len(job.frames)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent process, and ends this one when the parent has ended in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def render(
    jobs: list[RenderJob], *, seed: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    """Renders all frames of some jobs; an error or an interrupt ends the workers before it is raised again.

    Args:
        jobs: The jobs.
        seed: Seed of the release.
        workers: Number of processes, by default one for each processor; 1 renders in this process.
        progress: Called with the frames rendered and the frames in all.

    Raises:
        ConfigError: If a worker was killed.
    """
    parts = [part for job in jobs for part in job.parts()]
    total = sum(len(part.frames) for part in parts)
    done = 0
    count = min(workers or count_processors(), len(parts))
    if count <= 1:
        for part in parts:
            done += render_job(part, seed)
            if progress is not None:
                progress(done, total)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        try:
            for future in as_completed([pool.submit(render_job, part, seed) for part in parts]):
                done += future.result()
                if progress is not None:
                    progress(done, total)
        except BrokenProcessPool as error:
            raise ConfigError(
                f"workers: one of {count} rendering processes was killed or could not start; free some memory, or set "
                "workers to 1 to render in this process"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def contact_sheet(people: int = 6, seed: int = 0, hardest: float = 0.9) -> Image.Image:
    """Renders textbook expressions of some people.

    Args:
        people: Number of rows, at least 1, each another person.
        seed: Seed of the people, as in `write_release`.
        hardest: Difficulty of the last row, 0..1; it rises evenly from 0 in the first.

    Returns:
        RGB, 896 pixels wide, `people` times 112 high; columns are the eight expressions in their order.
    """
    sheet = Image.new("RGB", (CROP * len(EXPRESSIONS), CROP * people))
    for row in range(people):
        renderer = VideoRenderer(seed, "train", row, hardest * row / max(people - 1, 1))
        for column in range(len(EXPRESSIONS)):
            sheet.paste(renderer.image(40 * column, make_prototype(column)), (CROP * column, CROP * row))
    return sheet
