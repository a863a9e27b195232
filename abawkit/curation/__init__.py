"""From annotation files to a curated set, with a reason for every row that is not kept."""

from abawkit.curation.curate import Curation, curate
from abawkit.curation.curated_set import CuratedSet, CuratedSplit, open_curated
from abawkit.curation.release import Sources, find_sources

__all__ = ["CuratedSet", "CuratedSplit", "Curation", "Sources", "curate", "find_sources", "open_curated"]
