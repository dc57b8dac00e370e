"""The text of a segment rule → a tree. Knows the grammar and positions, nothing about profiles.

    rule     := and ("or" and)*
    and      := not ("and" not)*
    not      := "not" not | compared
    compared := sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum | "in" "(" sum ("," sum)* ")"]
    sum      := product (("+" | "-") product)*
    product  := factor (("*" | "/") factor)*
    factor   := number [unit] | text | "true" | "false" | "-" factor | "(" rule ")"
              | name ["(" [argument ("," argument)*] ")"]
    argument := sum | steps
    steps    := step ("then" step)*            step := name | "no" name "for" number unit
    unit     := ms | seconds | minutes | hours | days | weeks   (and their singular)

Bounded before anything is built: a rule has at most 4,096 characters, 256 nodes and 24 levels, so that no text can
take time or memory beyond that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from events.errors import BadRequest

CHARS_MAX: Final = 4_096
NODES_MAX: Final = 256
DEPTH_MAX: Final = 24

UNITS: Final = {
    "ms": 1,
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 604_800_000,
}


class BadRule(BadRequest):
    """A rule that cannot be understood. ``position``: characters from its beginning."""

    code = "bad_rule"

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"position {position}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    position: int


@dataclass(frozen=True, slots=True)
class Duration:
    ms: int
    position: int


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    position: int


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool
    position: int


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a sequence; with ``quiet_ms`` it is "no ``name`` for that long"."""

    name: str
    position: int
    quiet_ms: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    steps: tuple[Step, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Called:
    """A field, or a function with its arguments; ``arguments`` is None where there are no brackets."""

    name: str
    arguments: tuple[Node, ...] | None
    position: int


@dataclass(frozen=True, slots=True)
class Negated:
    """``not`` or the minus sign."""

    operator: str
    operand: Node
    position: int


@dataclass(frozen=True, slots=True)
class Joined:
    """``and``, ``or``, a comparison, or arithmetic."""

    operator: str
    left: Node
    right: Node
    position: int


@dataclass(frozen=True, slots=True)
class Among:
    """``value in (a, b)``."""

    value: Node
    options: tuple[Node, ...]
    position: int


Node: TypeAlias = Number | Duration | Text | Truth | Steps | Called | Negated | Joined | Among

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<sign><=|>=|==|!=|[<>()+\-*/,])
    )""",
    re.VERBOSE,
)
_ESCAPED: Final = re.compile(r"\\(.)")
_COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")
_WORDS: Final = frozenset(("and", "or", "not", "in", "then", "no", "for", "true", "false"))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def parse(rule: str) -> Node:
    """The tree of a rule. Raises `BadRule`.

    >>> parse("count(view, 7 days) >= 3").operator
    '>='
    """
    if len(rule) > CHARS_MAX:
        raise BadRule(f"a rule has at most {CHARS_MAX} characters, this one {len(rule)}: split it", CHARS_MAX)
    parser = _Parser(_tokens(rule))
    tree = parser.rule(0)
    parser.end()
    return tree


def written(node: Node) -> str:
    """The text of a field or function call, in one form whatever its spaces and units were.

    >>> written(parse("did( view,24 hours )"))
    'did(view, 1 day)'
    """
    match node:
        case Called(name, None):
            return name
        case Called(name, arguments) if arguments is not None:
            return f"{name}({', '.join(written(argument) for argument in arguments)})"
        case Number(value):
            return f"{value:g}"
        case Duration(ms):
            return _span_written(ms)
        case Text(text):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Truth(truth):
            return "true" if truth else "false"
        case Steps(steps):
            return " then ".join(
                f"no {step.name} for {_span_written(step.quiet_ms)}" if step.quiet_ms else step.name for step in steps
            )
        case Negated(operator, operand):
            return f"{operator} {written(operand)}"
        case Joined(operator, left, right):
            return f"({written(left)} {operator} {written(right)})"
        case Among(value, options):
            return f"{written(value)} in ({', '.join(written(option) for option in options)})"
    return ""


def _span_written(ms: int) -> str:
    for unit, length in sorted(UNITS.items(), key=lambda entry: -entry[1]):
        if ms % length == 0 and unit != "week":
            return f"{ms // length} {unit if ms == length or unit == 'ms' else unit + 's'}"
    return f"{ms} ms"


def _tokens(rule: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while rule[at:].strip():
        found = _TOKEN.match(rule, at)
        if found is None or found.lastgroup is None:
            start = at + len(rule[at:]) - len(rule[at:].lstrip())
            if rule[start] in "\"'":
                raise BadRule("this text has no closing quote", start)
            raise BadRule(f"{rule[start]!r} does not belong into a rule", start)
        tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        at = found.end()
    tokens.append(_Token("end", "", len(rule)))
    return tokens


class _Parser:
    """Recursive descent over tokens; the words of the grammar stand in the module's docstring."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nodes = 0

    def rule(self, depth: int) -> Node:
        left = self._both(depth)
        while (token := self._take_word("or")) is not None:
            left = self._made(Joined("or", left, self._both(depth), token.position))
        return left

    def end(self) -> None:
        token = self._next
        if token.kind != "end":
            self._fail(f"{token.text!r} is not expected here: join conditions with `and` or `or`")

    def _both(self, depth: int) -> Node:
        left = self._negation(depth)
        while (token := self._take_word("and")) is not None:
            left = self._made(Joined("and", left, self._negation(depth), token.position))
        return left

    def _negation(self, depth: int) -> Node:
        token = self._take_word("not")
        if token is None:
            return self._compared(depth)
        return self._made(Negated("not", self._negation(self._deeper(depth)), token.position))

    def _compared(self, depth: int) -> Node:
        left = self._sum(depth)
        if (token := self._take_word("in")) is not None:
            return self._made(Among(left, self._options(depth), token.position))
        token = self._next
        if token.kind != "sign" or token.text not in _COMPARISONS:
            return left
        self._at += 1
        made = self._made(Joined(token.text, left, self._sum(depth), token.position))
        if self._next.kind == "sign" and self._next.text in _COMPARISONS:
            self._fail("comparisons do not chain: write `a < b and b < c`")
        return made

    def _options(self, depth: int) -> tuple[Node, ...]:
        self._expect("(")
        options = [self._sum(depth)]
        while self._take_sign(","):
            options.append(self._sum(depth))
        self._expect(")")
        return tuple(options)

    def _sum(self, depth: int) -> Node:
        left = self._product(depth)
        while (token := self._take_sign("+", "-")) is not None:
            left = self._made(Joined(token.text, left, self._product(depth), token.position))
        return left

    def _product(self, depth: int) -> Node:
        left = self._factor(depth)
        while (token := self._take_sign("*", "/")) is not None:
            left = self._made(Joined(token.text, left, self._factor(depth), token.position))
        return left

    def _factor(self, depth: int) -> Node:
        token = self._next
        self._at += 1
        match token.kind:
            case "number":
                return self._number(token)
            case "text":
                return self._made(Text(_ESCAPED.sub(r"\1", token.text[1:-1]), token.position))
            case "name" if token.text in ("true", "false"):
                return self._made(Truth(token.text == "true", token.position))
            case "name" if token.text not in _WORDS:
                return self._called(token, depth)
            case "sign" if token.text == "-":
                return self._made(Negated("-", self._factor(self._deeper(depth)), token.position))
            case "sign" if token.text == "(":
                inner = self.rule(self._deeper(depth))
                self._expect(")")
                return inner
        self._at -= 1
        return self._fail("a value is missing here" if token.kind == "end" else f"{token.text!r} is not a value")

    def _number(self, token: _Token) -> Node:
        value = float(token.text)
        unit = self._take_unit()
        if unit is None:
            if value > 1e15:
                raise BadRule("numbers end at 1e15", token.position)
            return self._made(Number(value, token.position))
        return self._made(Duration(self._span(value, unit, token.position), token.position))

    def _span(self, value: float, unit: int, position: int) -> int:
        ms = value * unit
        if not 1 <= ms <= 3_650 * UNITS["day"]:
            raise BadRule("durations lie between a millisecond and ten years", position)
        return round(ms)

    def _called(self, token: _Token, depth: int) -> Node:
        if not self._take_sign("("):
            return self._made(Called(token.text, None, token.position))
        arguments: list[Node] = []
        if not self._take_sign(")"):
            arguments.append(self._argument(self._deeper(depth)))
            while self._take_sign(","):
                arguments.append(self._argument(self._deeper(depth)))
            self._expect(")")
        return self._made(Called(token.text, tuple(arguments), token.position))

    def _argument(self, depth: int) -> Node:
        after = self._tokens[self._at + 1] if self._next.kind != "end" else self._next
        if self._next.text != "no" and after.text != "then":
            return self._sum(depth)
        start = self._next.position
        steps = [self._step()]
        while self._take_word("then") is not None:
            steps.append(self._step())
        return self._made(Steps(tuple(steps), start))

    def _step(self) -> Step:
        quiet = self._take_word("no")
        token = self._next
        if token.kind != "name" or token.text in _WORDS:
            self._fail("a step is a signal such as `cart`, or `no purchase for 30 minutes`")
        self._at += 1
        if quiet is None:
            return Step(token.text, token.position)
        if self._take_word("for") is None:
            self._fail("say for how long: `no purchase for 30 minutes`")
        number = self._next
        self._at += 1
        unit = self._take_unit() if number.kind == "number" else None
        if unit is None:
            raise BadRule("say for how long: `no purchase for 30 minutes`", number.position)
        return Step(token.text, token.position, self._span(float(number.text), unit, number.position))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take_word(self, word: str) -> _Token | None:
        token = self._next
        if token.kind != "name" or token.text != word:
            return None
        self._at += 1
        return token

    def _take_sign(self, *signs: str) -> _Token | None:
        token = self._next
        if token.kind != "sign" or token.text not in signs:
            return None
        self._at += 1
        return token

    def _take_unit(self) -> int | None:
        token = self._next
        unit = UNITS.get(token.text, UNITS.get(token.text.removesuffix("s"))) if token.kind == "name" else None
        if unit is not None:
            self._at += 1
        return unit

    def _expect(self, sign: str) -> None:
        if self._take_sign(sign) is None:
            self._fail(f"{sign!r} is missing")

    def _deeper(self, depth: int) -> int:
        if depth >= DEPTH_MAX:
            self._fail(f"a rule is nested at most {DEPTH_MAX} deep: split it into segments")
        return depth + 1

    def _made(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            self._fail(f"a rule has at most {NODES_MAX} parts: split it into segments")
        return node

    def _fail(self, message: str) -> NoReturn:
        raise BadRule(message, self._next.position)
