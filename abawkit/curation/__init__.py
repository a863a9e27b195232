"""From annotation files to a curated set: what is valid, what is kept, and why every other row is not."""

from abawkit.curation.curate import Curation, curate
from abawkit.curation.sources import Sources, locate
from abawkit.curation.table import CuratedSet, CuratedSplit, open_curated

__all__ = ["CuratedSet", "CuratedSplit", "Curation", "Sources", "curate", "locate", "open_curated"]
