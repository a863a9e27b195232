"""Checks that a sequential JPEG is complete, for files whose only decoder silently fills gaps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_SOF: Final = {0xC0, 0xC1}  # sequential, Huffman
_OTHER_SOF: Final = {*range(0xC2, 0xD0)} - {0xC4, 0xC8, 0xCC}
_DHT, _DRI, _SOS, _EOI = 0xC4, 0xDD, 0xDA, 0xD9
_ZRL: Final = 15
_MAX_SEGMENTS: Final = 256
"""More than any camera writes: each may be a table that takes as long to read as a small picture."""

Codes = Mapping[int, tuple[int, int]]
"""Length in bits and symbol of the code that 16 bits begin with."""


class UnsupportedError(ValueError):
    """A JPEG that is not sequential, so that its data can't be followed here."""


@dataclass(frozen=True)
class _Component:
    """Sampling factors of a channel, 1 to 4."""

    across: int
    down: int


def check_entropy_data(content: bytes) -> None:
    """Follows the Huffman codes of every scan to their end, without computing a pixel; milliseconds for a crop.

    Args:
        content: The whole file, whose header `abawkit.frames.headers.read_header` accepted.

    Raises:
        UnsupportedError: If it is progressive, arithmetic or lossless.
        ValueError: If data is missing, left over, or no code; if a channel has no scan, or there is no end mark.

    Source: ITU-T T.81, annexes A.2, B.1.1.5, C and F.2.2.
    """
    width = height = interval = 0
    components: dict[int, _Component] = {}
    tables: dict[int, Codes] = {}
    seen: set[int] = set()
    at = 2
    for _ in range(_MAX_SEGMENTS):
        while content[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(content) or content[at] != 0xFF:
            raise ValueError("no marker where one must be")
        marker = content[at + 1]
        if marker == _EOI:
            if not components or seen != components.keys():
                raise ValueError("a channel has no data")
            return
        payload = content[at + 4 : at + 2 + int.from_bytes(content[at + 2 : at + 4])]
        at += 4 + len(payload)
        if marker in _OTHER_SOF:
            raise UnsupportedError("not a sequential JPEG")
        if marker in _SOF:
            height, width = int.from_bytes(payload[1:3]), int.from_bytes(payload[3:5])
            parts = [payload[k : k + 3] for k in range(6, 6 + 3 * payload[5], 3)]
            components = {part[0]: _Component(part[1] >> 4, part[1] & 15) for part in parts}
            if any(not (1 <= c.across <= 4 and 1 <= c.down <= 4) for c in components.values()):
                raise ValueError("sampling factors outside 1..4")
        elif marker == _DHT:
            tables |= _read_tables(payload)
        elif marker == _DRI:
            interval = int.from_bytes(payload[:2])
        elif marker == _SOS:
            chosen = [(payload[k], payload[k + 1]) for k in range(1, 1 + 2 * payload[0], 2)]
            blocks, count = _plan_scan(components, [number for number, _ in chosen], width, height)
            used = [(tables[which >> 4], tables[0x10 | (which & 15)]) for _, which in chosen]
            order = [used[k] for k, repeats in enumerate(blocks) for _ in range(repeats)]
            at = _check_scan(content, at, order, count, interval)
            seen |= {number for number, _ in chosen}
    raise ValueError(f"more than {_MAX_SEGMENTS} segments")


def _read_tables(payload: bytes) -> dict[int, Codes]:
    """Huffman tables by class and number, as ``0x10 * class + number``."""
    tables: dict[int, Codes] = {}
    at = 0
    while at < len(payload):
        counts = payload[at + 1 : at + 17]
        symbols = payload[at + 17 : at + 17 + sum(counts)]
        codes: dict[int, tuple[int, int]] = {}
        code = k = 0
        for length, count in enumerate(counts, start=1):
            for symbol in symbols[k : k + count]:
                start = code << (16 - length)
                codes |= dict.fromkeys(range(start, start + (1 << (16 - length))), (length, symbol))
                code += 1
            k += count
            code <<= 1
        tables[payload[at]] = codes
        at += 17 + len(symbols)
    return tables


def _plan_scan(
    components: Mapping[int, _Component], chosen: list[int], width: int, height: int
) -> tuple[list[int], int]:
    """Blocks of each channel in a unit of a scan, and the number of its units."""
    most_across = max(c.across for c in components.values())
    most_down = max(c.down for c in components.values())
    if len(chosen) > 1:
        units = -(-width // (8 * most_across)) * -(-height // (8 * most_down))
        return [components[number].across * components[number].down for number in chosen], units
    one = components[chosen[0]]
    across, down = -(-width * one.across // most_across), -(-height * one.down // most_down)
    return [1], -(-across // 8) * -(-down // 8)


def _check_scan(content: bytes, at: int, order: list[tuple[Codes, Codes]], units: int, interval: int) -> int:
    """Follows a scan; where its data ends."""
    left = units
    for number, (start, end, restart) in enumerate(_split_intervals(content, at)):
        here = min(interval or units, left)
        _follow_codes(content[start:end].replace(b"\xff\0", b"\xff"), order * here)
        left -= here
        if restart is None:
            if left:
                raise ValueError(f"data for {units - left} of {units} units")
            return end
        if restart != number % 8 or not left:
            raise ValueError("a restart mark where none must be")
    raise ValueError("the data has no end")


def _split_intervals(content: bytes, at: int) -> Iterator[tuple[int, int, int | None]]:
    """The data between restart marks: start, end, and the number of the mark behind it, None at the last."""
    start = at
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        marker = content[at + 1]
        if marker == 0:
            at += 2
        elif marker == 0xFF:
            at += 1
        elif 0xD0 <= marker <= 0xD7:
            yield start, at, marker - 0xD0
            start = at = at + 2
        else:
            yield start, at, None
            return


def _follow_codes(data: bytes, blocks: list[tuple[Codes, Codes]]) -> None:
    """Reads the codes of blocks, which must fill the data but for less than a byte."""
    padded = data + b"\xff\xff\xff"
    windows = [padded[k] << 16 | padded[k + 1] << 8 | padded[k + 2] for k in range(len(data))]
    total, bit = 8 * len(data), 0
    try:
        for dc, ac in blocks:
            length, size = dc[(windows[bit >> 3] >> (8 - (bit & 7))) & 0xFFFF]
            bit += length + size
            k = 1
            while k < 64:
                length, symbol = ac[(windows[bit >> 3] >> (8 - (bit & 7))) & 0xFFFF]
                run, size = symbol >> 4, symbol & 15
                bit += length + size
                if size:
                    k += run + 1
                elif run == _ZRL:
                    k += 16
                else:
                    break
            if k > 64:
                raise ValueError("a block of more than 64 coefficients")
    except (IndexError, KeyError) as error:
        raise ValueError("data that is no code, or too little of it") from error
    if not 0 <= total - bit < 8:
        raise ValueError("more data than the picture has" if bit < total else "less data than the picture has")
