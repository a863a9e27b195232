"""From annotation files to a curated set: what is valid, what is kept, and why every other row is not."""

from abawkit.curation.curate import Curation, curate
from abawkit.curation.curated_set import CuratedSet, CuratedSplit, open_curated
from abawkit.curation.release import Sources, find_sources

__all__ = ["CuratedSet", "CuratedSplit", "Curation", "Sources", "curate", "find_sources", "open_curated"]
