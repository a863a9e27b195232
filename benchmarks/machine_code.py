"""What a warp issues on its way through a kernel, read from nvdisasm's listing.

The count is that of the longest way from the kernel's entry to its end, each loop taken as often as its caller says: a
warp that has work in all branches. Loops and branches are known by the source lines that `nvcc -lineinfo` notes.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r'//## File "([^"]+)", line (\d+)')
_INSTRUCTION = re.compile(r"/\*[0-9a-f]+\*/\s+(@!?U?P\w+ )?\s*([A-Z][\w.]*)([^;]*);")
_TARGET = re.compile(r"`\((\.L_x_\d+)\)")
_SECTION = re.compile(r"^\t\.section\t\.text\.([^,]+),")


class UnknownLoopError(Exception):
    """A loop whose number of turns nobody gave."""


@dataclass
class Instruction:
    """One machine instruction: its opcode, whether a predicate guards it, its branch target and its source lines."""

    opcode: str
    guarded: bool
    target: str
    lines: tuple[str, ...]


@dataclass
class Block:
    """Instructions that run one after the other, and the blocks that may follow."""

    instructions: list[Instruction] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    successors: list[int] = field(default_factory=list)


@functools.cache
def _source(path: str) -> list[str]:
    return [line.strip() for line in Path(path).read_text().splitlines()] if Path(path).is_file() else []


def _text_of(path: str, line: int) -> str:
    lines = _source(path)
    return lines[line - 1] if 0 < line <= len(lines) else ""


def kernels(listing: str) -> Iterator[tuple[str, list[Block]]]:
    """Mangled name and blocks of each kernel of `nvdisasm -c -gi`."""
    name = ""
    body: list[str] = []
    for line in [*listing.splitlines(), "\t.section\t.text.,"]:
        if found := _SECTION.match(line):
            if name:
                yield name, _blocks(body)
            name, body = found[1], []
        elif line.startswith("\t.section"):
            if name:
                yield name, _blocks(body)
            name = ""
        elif name:
            body.append(line)


def _blocks(body: list[str]) -> list[Block]:
    blocks = [Block()]
    lines: tuple[str, ...] = ()
    inside = False  # of the lines of one instruction
    for text in body:
        if found := _LINE.search(text):
            source = _text_of(found[1], int(found[2]))
            lines = (*lines, source) if inside else (source,)
            inside = True
        elif text.startswith(".L_x_"):
            if blocks[-1].instructions:
                blocks.append(Block())
            blocks[-1].labels.append(text.rstrip(":"))
            inside = False
        elif found := _INSTRUCTION.search(text):
            inside = False
            opcode = found[2].split(".")[0]
            target = _TARGET.search(found[3]) if opcode == "BRA" else None
            guarded = bool(found[1]) or (opcode == "BRA" and "P" in found[3].split("`")[0])
            blocks[-1].instructions.append(Instruction(opcode, guarded, target[1] if target else "", lines))
            if opcode in {"BRA", "EXIT", "RET"}:
                blocks.append(Block())
    at = {label: number for number, block in enumerate(blocks) for label in block.labels}
    for number, block in enumerate(blocks):
        last = block.instructions[-1] if block.instructions else None
        if last and last.target:
            block.successors.append(at[last.target])
        if number + 1 < len(blocks) and not (last and last.opcode in {"BRA", "EXIT", "RET"} and not last.guarded):
            block.successors.append(number + 1)
    return blocks


class Way:
    """The longest way through a kernel.

    Args:
        blocks: what `kernels` gave.
        turns: how often a loop runs, by the text of its `for`, or None where it is no such line.
        left_out: whether a source line is one whose code does not run; it counts for nothing.
    """

    def __init__(
        self, blocks: list[Block], turns: Callable[[str], float | None], left_out: Callable[[str], bool]
    ) -> None:
        self._blocks = blocks
        self._turns = turns
        self._running = [[i for i in block.instructions if not any(map(left_out, i.lines))] for block in blocks]
        self._loops = self._find_loops()

    def _find_loops(self) -> dict[int, set[int]]:
        """Header to blocks of each natural loop."""
        backward: list[tuple[int, int]] = []
        state = dict.fromkeys(range(len(self._blocks)), 0)
        stack = [(0, iter(self._blocks[0].successors))]
        state[0] = 1
        while stack:
            number, rest = stack[-1]
            for follower in rest:
                if state[follower] == 0:
                    state[follower] = 1
                    stack.append((follower, iter(self._blocks[follower].successors)))
                    break
                if state[follower] == 1:
                    backward.append((number, follower))
            else:
                state[number] = 2
                stack.pop()
        before: dict[int, list[int]] = {}
        for number in (n for n, s in state.items() if s):
            for follower in self._blocks[number].successors:
                before.setdefault(follower, []).append(number)
        loops: dict[int, set[int]] = {}
        for latch, header in backward:
            body = loops.setdefault(header, {header})
            todo = [latch]
            while todo:
                number = todo.pop()
                if number not in body:
                    body.add(number)
                    todo += before.get(number, [])
        return loops

    def _turns_of(self, header: int) -> float:
        body = self._loops[header]
        ends = [n for n in body if header in self._blocks[n].successors]
        candidates = [self._blocks[n].instructions[-1] for n in ends]
        inner = set().union(*(b for h, b in self._loops.items() if h in body and h != header), set())
        candidates += [i for n in [header, *sorted(body - inner)] for i in self._blocks[n].instructions]
        texts = [text for i in candidates for text in i.lines if text.startswith(("for (", "while ("))]
        for text in texts:
            if (turns := self._turns(text)) is not None:
                return turns
        raise UnknownLoopError(f"a loop has no number of turns; it is one of: {sorted(set(texts))}")

    def length(self, opcode: str = "") -> float:
        """Instructions that a warp issues from entry to end, or those of an opcode alone."""
        weights = [sum(not opcode or i.opcode == opcode for i in running) for running in self._running]
        return self._longest(0, set(range(len(self._blocks))), None, weights)

    def _longest(self, entry: int, inside: set[int], loop: int | None, weights: list[int]) -> float:
        """The longest way in `inside` from `entry`, to the next turn of `loop` or to an end."""
        headers = {h: b for h, b in self._loops.items() if h in inside and h != loop}
        outermost = {h: b for h, b in headers.items() if not any(h in o and h != g for g, o in headers.items())}
        owner = {n: h for h, b in outermost.items() for n in b}
        memory: dict[int, float] = {}

        def visit(number: int) -> float:
            if number in memory:
                return memory[number]
            if number in outermost:
                body = outermost[number]
                once = self._longest(number, body, number, weights)
                own = once * self._turns_of(number) if once else 0.0
                ahead = {f for n in body for f in self._blocks[n].successors if f not in body}
            else:
                own = float(weights[number])
                ahead = set(self._blocks[number].successors)
            ways = [visit(owner.get(f, f)) for f in ahead if f in inside and f != loop]
            ends = (loop in ahead) if loop is not None else not ahead
            best = max(ways, default=float("-inf"))
            memory[number] = own + (max(best, 0.0) if ends else best)
            return memory[number]

        return visit(entry)
