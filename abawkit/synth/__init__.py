"""A synthetic release in the official layout: rendered faces, and labels that follow from them."""

from abawkit.synth.release import SIZES, ReleaseSummary, SplitSummary, write_release
from abawkit.synth.rendering import contact_sheet

__all__ = ["SIZES", "ReleaseSummary", "SplitSummary", "contact_sheet", "write_release"]
