"""Benchmarks are no package that is installed: they are found in the checkout, after all that is."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
