import os
from pathlib import Path

import pytest

VARIABLE = "ABAWKIT_OFFICIAL_COUNTS"


@pytest.fixture(scope="session")
def official() -> Path:
    """A folder with label files of the official counts: a release's own, or a made one whose counts are the same."""
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "release"
    if not named and not folder.is_dir():
        pytest.skip(f"{VARIABLE} does not name a folder with files of the official counts")
    return folder
