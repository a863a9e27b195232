"""Cells of the CSV files that people open in a spreadsheet."""

from typing import Final

from abawkit.errors import printable

_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t")


def escape_cell(text: str) -> str:
    """A cell that is safe in a spreadsheet: escaped, and quoted with ``'`` where it would be a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text
