"""Follows a pickle without obeying it: the stack machine of pickletools, with descriptions in place of objects.

Opcodes and their meaning: the comments of Python's pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from engine.weights_reading.inert import Made, Ref
from engine.weights_reading.source import DamagedError, Stream, TooMuchError

MAX_STEPS = 2_000_000
CALL_STEPS = 5
MAX_NAMES = 10_000
MAX_TEXT = 64 * 2**20
SHORT = 4096  # longer texts and bytes stay in the file
LONGEST_NUMBER = 1024
MARK = object()
OTHER_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg", "posix": "os", "nt": "os", "numpy._core": "numpy.core"}
Build = Callable[[str, tuple[Any, ...]], Any]


class Budget:
    """What all pickles of one file may cost together."""

    def __init__(self) -> None:
        self.steps, self.text = MAX_STEPS, MAX_TEXT

    def spend_text(self, count: int) -> None:
        self.text -= count
        if self.text < 0:
            raise TooMuchError


def full_name(module: Any, name: Any) -> str:
    for old, new in OTHER_NAMES.items():
        if isinstance(module, str) and (module == old or module.startswith(f"{old}.")):
            module = new + module[len(old):]
    return f"{module}.{name}"


class Machine:
    """`build(name, args)` gives the description of a call; `persistent(id)` that of something stored beside the pickle.

    `names` are all names the pickle asks for, in order.
    """

    def __init__(self, stream: Stream, budget: Budget, build: Build, persistent: Callable[[Any], Any], names: dict[str, None]) -> None:
        self.stream, self.budget, self.build, self.persistent, self.names = stream, budget, build, persistent, names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What stands on the stack in the end. Raises DamagedError and TooMuchError."""
        try:
            while True:
                code = self.stream.take(1)[0]
                self.budget.steps -= 1
                if self.budget.steps < 0:
                    raise TooMuchError
                if code == 0x2E:
                    return self.pop()
                STEPS[code](self)
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, struct.error) as error:
            raise DamagedError from error

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise DamagedError
        return value

    def above_mark(self) -> list[Any]:
        """Everything above the topmost mark, which goes too."""
        position = len(self.stack) - 1
        while self.stack[position] is not MARK:
            position -= 1
            if position < 0:
                raise DamagedError
        values = self.stack[position + 1:]
        del self.stack[position:]
        return values

    def text(self, count: int, *, encoding: str) -> None:
        """Pushes a str, or for a long one its place. Long texts are numbers of arrays in disguise."""
        if count > SHORT:
            return self.push(self.stream.skip(count, coded=encoding == "utf-8"))
        self.budget.spend_text(count)
        return self.push(self.stream.take(count).decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))

    def bytes(self, count: int) -> None:
        if count > SHORT:
            return self.push(self.stream.skip(count))
        self.budget.spend_text(count)
        return self.push(self.stream.take(count))

    def line(self, encoding: str) -> str:
        line = self.stream.line()
        self.budget.spend_text(len(line))
        return line.decode(encoding)

    def quoted(self) -> None:
        line = self.stream.line()
        self.budget.spend_text(len(line))
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise DamagedError
        self.push(line[1:-1].decode("unicode_escape"))

    def whole(self, count: int) -> None:
        if count > LONGEST_NUMBER:
            self.stream.skip(count)
            raise TooMuchError
        self.push(int.from_bytes(self.stream.take(count), "little", signed=True))

    def decimal(self) -> None:
        text = self.line("ascii").rstrip("L")
        if len(text) > LONGEST_NUMBER:
            raise TooMuchError
        self.push({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text))

    def refer(self, module: Any, name: Any) -> Ref:
        ref = Ref(full_name(module, name))
        self.names[ref.name] = None
        if len(self.names) > MAX_NAMES:
            raise TooMuchError
        return ref

    def call(self, function: Any, args: Any) -> None:
        self.budget.steps -= CALL_STEPS
        args = args if isinstance(args, tuple) else (args,)
        made = self.build(function.name, args) if isinstance(function, Ref) else Made("unknown", args)
        self.stream.resume()
        self.push(made)

    def fill(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Made) else target
        if not isinstance(items, dict) or len(pairs) % 2:
            raise DamagedError
        for position in range(0, len(pairs), 2):
            items[key_of(pairs[position])] = pairs[position + 1]

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)

    def change(self) -> None:
        """BUILD: a state for what lies under it."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Made):
            target.state = state
        elif hasattr(target, "rebuild"):
            target.rebuild(state)

    def inst(self) -> None:
        module, name = self.line("utf-8"), self.line("utf-8")
        self.call(self.refer(module, name), tuple(self.above_mark()))

    def obj(self) -> None:
        function, *args = self.above_mark()
        self.call(function, tuple(args))

    def new(self, *, named: bool) -> None:
        if named:
            self.pop()
        args = self.pop()
        self.call(self.pop(), args)

    def stack_global(self) -> None:
        name = self.pop()
        self.push(self.refer(self.pop(), name))

    def row(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def put(self, place: int) -> None:
        if not 0 <= place < 2**32:
            raise DamagedError
        self.memo[place] = self.stack[-1]

    def mapping(self) -> None:
        pairs = self.above_mark()
        self.push({})
        self.fill(pairs)

    def reduce(self) -> None:
        args = self.pop()
        self.call(self.pop(), args)

    def item(self) -> None:
        value = self.pop()
        self.fill([self.pop(), value])

    def appended(self) -> None:
        value = self.pop()
        self.extend([value])


def key_of(value: Any) -> Any:
    """Keys of short texts and small numbers only: hashing what a stranger nested can take a process down."""
    if isinstance(value, str) or value is None:
        return value
    if type(value) is int and abs(value) < 2**31:
        return value
    return str(value) if type(value) in (int, float, bool, bytes) else f"<{type(value).__name__} {id(value)}>"


def _real(machine: Machine) -> None:
    machine.push(struct.unpack(">d", machine.stream.take(8))[0])


STEPS: dict[int, Callable[[Machine], Any]] = {ord(code): step for code, step in {
    "(": lambda m: m.push(MARK), "0": lambda m: m.stack.pop(), "1": lambda m: m.above_mark(), "2": lambda m: m.push(m.stack[-1]),
    "N": lambda m: m.push(None), "\x88": lambda m: m.push(True), "\x89": lambda m: m.push(False),
    "I": Machine.decimal, "L": Machine.decimal, "J": lambda m: m.push(struct.unpack("<i", m.stream.take(4))[0]),
    "K": lambda m: m.push(m.stream.number(1)), "M": lambda m: m.push(m.stream.number(2)), "\x8a": lambda m: m.whole(m.stream.number(1)),
    "\x8b": lambda m: m.whole(m.stream.number(4)),
    "F": lambda m: m.push(float(m.line("ascii"))), "G": _real,
    "S": Machine.quoted, "T": lambda m: m.text(m.stream.number(4), encoding="latin-1"), "U": lambda m: m.text(m.stream.number(1), encoding="latin-1"),
    "V": lambda m: m.push(m.line("raw_unicode_escape")), "X": lambda m: m.text(m.stream.number(4), encoding="utf-8"),
    "\x8c": lambda m: m.text(m.stream.number(1), encoding="utf-8"), "\x8d": lambda m: m.text(m.stream.number(8), encoding="utf-8"),
    "B": lambda m: m.bytes(m.stream.number(4)), "C": lambda m: m.bytes(m.stream.number(1)), "\x8e": lambda m: m.bytes(m.stream.number(8)),
    "\x96": lambda m: m.bytes(m.stream.number(8)), "\x97": lambda m: m.push(Made("out-of-band buffer")), "\x98": lambda m: None,
    "]": lambda m: m.push([]), "l": lambda m: m.push(m.above_mark()), "a": Machine.appended, "e": lambda m: m.extend(m.above_mark()),
    ")": lambda m: m.push(()), "t": lambda m: m.push(tuple(m.above_mark())), "\x85": lambda m: m.row(1), "\x86": lambda m: m.row(2),
    "\x87": lambda m: m.row(3), "}": lambda m: m.push({}), "d": Machine.mapping, "s": Machine.item, "u": lambda m: m.fill(m.above_mark()),
    "\x8f": lambda m: m.push([]), "\x90": lambda m: m.extend(m.above_mark()), "\x91": lambda m: m.push(m.above_mark()),
    "g": lambda m: m.push(m.memo[int(m.line("ascii"))]), "h": lambda m: m.push(m.memo[m.stream.number(1)]),
    "j": lambda m: m.push(m.memo[m.stream.number(4)]), "p": lambda m: m.put(int(m.line("ascii"))), "q": lambda m: m.put(m.stream.number(1)),
    "r": lambda m: m.put(m.stream.number(4)), "\x94": lambda m: m.put(len(m.memo)),
    "c": lambda m: m.push(m.refer(m.line("utf-8"), m.line("utf-8"))), "\x93": Machine.stack_global, "R": Machine.reduce, "b": Machine.change,
    "i": Machine.inst, "o": Machine.obj, "\x81": lambda m: m.new(named=False), "\x92": lambda m: m.new(named=True),
    "P": lambda m: m.push(m.persistent(m.line("ascii"))), "Q": lambda m: m.push(m.persistent(m.pop())),
    "\x80": lambda m: m.stream.take(1), "\x95": lambda m: m.stream.take(8),
    "\x82": lambda m: m.push(m.refer("copyreg", f"extension {m.stream.number(1)}")),
    "\x83": lambda m: m.push(m.refer("copyreg", f"extension {m.stream.number(2)}")),
    "\x84": lambda m: m.push(m.refer("copyreg", f"extension {m.stream.number(4)}")),
}.items()}

