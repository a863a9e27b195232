"""Drawing a release's frames in parallel processes; every frame is a pure function of seed, split, video and number."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abawkit.errors import ConfigError
from abawkit.files import processors
from abawkit.synth.frame import VideoRenderer
from abawkit.synth.rates import Split

_FRAMES_PER_CALL = 64


@dataclass(frozen=True)
class RenderJob:
    """Frames of one video to draw.

    Attributes:
        folder: Where to; made if it isn't there.
        split: Split of the video.
        video: Index of the video in its split.
        frames: Frame numbers; int64, shape (n,).
        intensity: Intensity of each of the 17 action units in each frame, 0..1; float64, shape (n, 17).
        difficulty: Strength of the nuisances, 0..1.
    """

    folder: Path
    split: Split
    video: int
    frames: NDArray[np.int64]
    intensity: NDArray[np.float64]
    difficulty: float

    def parts(self) -> list["RenderJob"]:
        """The job in pieces short enough that workers end together and an interrupt is soon obeyed."""
        cuts = range(0, len(self.frames), _FRAMES_PER_CALL)
        return [
            RenderJob(
                self.folder,
                self.split,
                self.video,
                self.frames[start : start + _FRAMES_PER_CALL],
                self.intensity[start : start + _FRAMES_PER_CALL],
                self.difficulty,
            )
            for start in cuts
        ]


def draw(job: RenderJob, seed: int) -> int:
    """Draws and writes a job's frames.

    Returns:
        Number of frames written.
    """
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
    """Leaves Ctrl-C to the parent, and the machine when the parent is gone, however it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def render(
    jobs: list[RenderJob], *, seed: int, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    """Draws all frames of some jobs; an error or an interrupt ends the workers before it is passed on.

    Args:
        jobs: What to draw.
        seed: Seed of the release.
        workers: Number of processes, by default one for each processor; 1 draws in this process.
        progress: Called with frames drawn and frames to draw.

    Raises:
        ConfigError: If a worker was killed.
    """
    parts = [part for job in jobs for part in job.parts()]
    total = sum(len(part.frames) for part in parts)
    done = 0
    count = min(workers or processors(), len(parts))
    if count <= 1:
        for part in parts:
            done += draw(part, seed)
            if progress is not None:
                progress(done, total)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker) as pool:
        try:
            for future in as_completed([pool.submit(draw, part, seed) for part in parts]):
                done += future.result()
                if progress is not None:
                    progress(done, total)
        except BrokenProcessPool as error:
            raise ConfigError(
                f"workers: one of {count} drawing processes was killed or could not start; free some memory, or set "
                "workers to 1 to draw in this process"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
