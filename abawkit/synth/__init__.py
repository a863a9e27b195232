"""A procedural release in the official layout: drawn faces, and labels that follow from what is drawn."""

from abawkit.synth.release import SIZES, ReleaseSummary, SplitSummary, write_release
from abawkit.synth.rendering import contact_sheet

__all__ = ["SIZES", "ReleaseSummary", "SplitSummary", "contact_sheet", "write_release"]
