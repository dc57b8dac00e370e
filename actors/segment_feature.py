"""What a cluster measures profiles by: a number, a duration in ms, or a condition, which counts as 1 or 0.

>>> understand_feature('trait("age") >= 45').reads
frozenset({'traits'})
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.quantity import Quantity, steady
from actors.segment_rules import Expression, Rule, Subject, understand, understand_value
from actors.segment_syntax import BadRule

TOLD: Final = frozenset({"traits", "groups", "consent"})
"""What somebody says of a person. It never changes by the passing of time."""


def understand_feature(value: str, known: str = "") -> Expression:
    """How ``value`` is read of a profile: None where nobody knows, or where ``known``, a condition, does not hold.

    Raises `BadRule`, also for a ``known`` that reads more than `TOLD`: what moves with time would change unnoticed.
    """
    read = _expression(value)
    if not known:
        return read
    only = understand(known)
    if not only.reads <= TOLD:
        raise BadRule(f"`{known[:64]}` decides what is known, so it may ask about traits and groups only", 0)
    return Expression(value, _where(only, read.read), read.reads | only.reads, read.segments | only.segments)


def _expression(value: str) -> Expression:
    try:
        rule = understand(value)
    except BadRule:
        return understand_value(value)
    return Expression(value, _counted(rule), rule.reads, rule.segments)


def _counted(rule: Rule) -> Callable[[Subject], Quantity]:
    def read(subject: Subject) -> Quantity:
        holds, stands = rule.holds(subject)
        return steady(float(holds), stands)

    return read


def _where(rule: Rule, read: Callable[[Subject], Quantity | None]) -> Callable[[Subject], Quantity | None]:
    def known(subject: Subject) -> Quantity | None:
        return read(subject) if rule.holds(subject).holds else None

    return known
