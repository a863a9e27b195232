"""abawkit: from a release of the ABAW challenge to a checked submission and a score to rely on.

The functions below are imported when they are first used, so that ``import abawkit`` takes next to no time; see
`abawkit.api`.
"""

TYPE_CHECKING = False  # as of typing, which would take most of the time
if TYPE_CHECKING:
    from abawkit.api import (
        compare,
        curate,
        extract_features,
        import_features,
        leaderboard,
        open_curated,
        open_features,
        predict,
        review_labels,
        score,
        train,
        tune,
        write_release,
    )

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "compare",
    "curate",
    "extract_features",
    "import_features",
    "leaderboard",
    "open_curated",
    "open_features",
    "predict",
    "review_labels",
    "score",
    "train",
    "tune",
    "write_release",
]

if not TYPE_CHECKING:  # a type checker knows the names from above, and no others

    def __getattr__(name: str) -> object:
        """Imports a function when it is first used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from abawkit import api

        return getattr(api, name)


def __dir__() -> list[str]:
    """The names above too, though they are not imported yet."""
    return sorted({*globals(), *__all__})
