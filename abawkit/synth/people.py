"""People: the properties of a face that are the same in all frames of one video."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from abawkit.synth.action_units import UNITS
from abawkit.synth.face.pen import Color, mix
from abawkit.synth.rates import SYNTH_SPLITS, SynthSplit

Hair = Literal["bald", "cropped", "parted", "fringe", "long"]
Beard = Literal["none", "stubble", "moustache", "full"]
Glasses = Literal["none", "round", "square"]

_SKINS: Final = ((252, 222, 202), (240, 196, 165), (222, 170, 132), (188, 132, 96), (142, 94, 66), (98, 64, 48))
_HAIRS: Final = (
    (24, 20, 20),
    (48, 34, 26),
    (84, 56, 36),
    (126, 84, 46),
    (190, 150, 92),
    (120, 54, 30),
    (158, 154, 150),
)
_IRISES: Final = ((62, 40, 26), (88, 58, 32), (104, 96, 56), (74, 104, 84), (82, 116, 146), (110, 124, 134))
_FRAMES: Final = ((26, 24, 26), (80, 50, 34), (60, 60, 72), (120, 100, 70), (130, 34, 40))


@dataclass(frozen=True)
class Person:
    """One person's face, hair, things worn and background. Sizes are factors of the average face.

    Attributes:
        gain: How far each of the 17 units moves in this face at intensity 1, as a factor; shape (17,).
        wrinkles: Depth of all lines and folds that action units leave.
        seed: Seed of this person's texture and background.
    """

    skin: Color
    hair_color: Color
    brow_color: Color
    iris: Color
    lips: Color
    shirt: Color
    backdrop: tuple[Color, Color]
    frame_color: Color
    hair: Hair
    hairline: float
    beard: Beard
    glasses: Glasses
    face_width: float
    jaw: float
    eye_size: float
    eye_opening: float
    eye_slant: float
    brow_height: float
    brow_arch: float
    brow_thickness: float
    nose_width: float
    nose_length: float
    mouth_width: float
    fullness: float
    freckles: float
    wrinkles: float
    gain: NDArray[np.float64]
    seed: int


def _sample_color(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    place = rng.random() * (len(colors) - 1)
    first = int(place)
    blend = mix(colors[first], colors[first + 1], place - first)
    return mix(blend, rng.integers(0, 256, 3).tolist(), 0.05)


def _sample_factor(rng: np.random.Generator, spread: float) -> float:
    return float(1.0 + spread * np.clip(rng.standard_normal(), -2.0, 2.0))


def make_person(seed: int, split: SynthSplit, video: int) -> Person:
    """The person of a video, a pure function of the release's seed, the split and the index of the video in it."""
    rng = np.random.default_rng([seed, SYNTH_SPLITS.index(split), 3, video])
    skin = _sample_color(rng, _SKINS)
    hair = mix(_HAIRS[rng.integers(len(_HAIRS))], rng.integers(0, 256, 3).tolist(), 0.04)
    feminine = bool(rng.random() < 0.5)
    styles: tuple[Hair, ...] = ("bald", "cropped", "parted", "fringe", "long")
    beards: tuple[Beard, ...] = ("none", "stubble", "moustache", "full")
    worn: tuple[Glasses, ...] = ("none", "round", "square")
    backdrop = (rng.integers(30, 236, 3).tolist(), rng.integers(30, 236, 3).tolist())
    return Person(
        skin=skin,
        hair_color=hair,
        brow_color=mix(hair, (28, 20, 18), 0.45),
        iris=mix(_IRISES[rng.integers(len(_IRISES))], (90, 90, 90), 0.15 * rng.random()),
        lips=mix(mix(skin, (176, 58, 62), 0.36), (170, 24, 52), (0.6 if feminine else 0.12) * rng.random()),
        shirt=mix(rng.integers(0, 256, 3).tolist(), (128, 128, 128), 0.3),
        backdrop=(mix(backdrop[0], (120, 124, 128), 0.45), mix(backdrop[1], (120, 124, 128), 0.45)),
        frame_color=_FRAMES[rng.integers(len(_FRAMES))],
        hair=styles[rng.choice(5, p=(0.0, 0.05, 0.2, 0.3, 0.45) if feminine else (0.14, 0.36, 0.34, 0.1, 0.06))],
        hairline=float(rng.uniform(9.0, 16.0)),
        beard=beards[0 if feminine else rng.choice(4, p=(0.45, 0.25, 0.1, 0.2))],
        glasses=worn[rng.choice(3, p=(0.76, 0.12, 0.12))],
        face_width=_sample_factor(rng, 0.04),
        jaw=float(rng.uniform(0.10, 0.22) if feminine else rng.uniform(0.02, 0.16)),
        eye_size=_sample_factor(rng, 0.06),
        eye_opening=_sample_factor(rng, 0.09),
        eye_slant=float(0.7 * rng.standard_normal()),
        brow_height=float(0.9 * np.clip(rng.standard_normal(), -2, 2)),
        brow_arch=_sample_factor(rng, 0.25),
        brow_thickness=(0.8 if feminine else 1.15) * _sample_factor(rng, 0.16),
        nose_width=_sample_factor(rng, 0.10),
        nose_length=float(1.0 * np.clip(rng.standard_normal(), -2, 2)),
        mouth_width=_sample_factor(rng, 0.06),
        fullness=(1.1 if feminine else 0.95) * _sample_factor(rng, 0.12),
        freckles=float(rng.random() if rng.random() < 0.15 else 0.0),
        wrinkles=float(rng.uniform(0.7, 1.25)),
        gain=np.clip(0.9 + 0.1 * rng.standard_normal(len(UNITS)), 0.4, 1.4),
        seed=int(rng.integers(2**31)),
    )
