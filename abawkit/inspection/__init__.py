"""What a file or folder is, what it was made of, and whether it still is what its own records say."""

from abawkit.inspection.detect import inspect
from abawkit.inspection.report import Inspection

__all__ = ["Inspection", "inspect"]
