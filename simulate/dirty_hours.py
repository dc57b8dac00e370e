"""Dirt in a stream that is made while it is sent: an hour of the world at a time, and in time of the wall."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from simulate.chance import key_of
from simulate.dirt import Delivery, DirtSpec, dirty
from simulate.payloads import Message, stamp
from simulate.shelf import Shelf
from simulate.world_spec import HOUR_MS

LIVE: Final = DirtSpec(scrapers=0, clickers=0, pumpers=3)
"""Shares as they are; of the bots only those whose number of messages does not drown some thousand people's."""
TIMES: Final = ("timestamp", "sentAt")


class DirtyHours:
    """Takes what people send, hour by hour, and gives it back as it arrives. The labels stay here."""

    def __init__(self, shelf: Shelf, seed: int, spec: DirtSpec = LIVE) -> None:
        self._shelf = shelf
        self._seed = seed
        self._spec = spec
        self._hour = -1
        self._clean: list[tuple[int, Message]] = []

    def add(self, at: int, message: Message) -> None:
        """Something is sent at ``at`` (ms of the world)."""
        self._clean.append((at, message))

    def over(self, now: int) -> list[Delivery]:
        """What arrives, now or later, of the hours that are over."""
        hour = now // HOUR_MS
        if hour == self._hour or not self._clean:
            self._hour = hour
            return []
        self._hour = hour
        found = dirty(self._clean, self._spec, key_of(self._seed, hour), self._shelf).deliveries
        self._clean = []
        return [Delivery(one.at, _renamed(one.message, hour)) for one in found]


def _renamed(message: Message, hour: int) -> Message:
    """Messages that are numbered anew in each hour get the hour into their ids; those of people have ids of their
    own."""
    name = str(message.get("messageId"))
    return {**message, "messageId": f"{name}-{hour}"} if name.startswith(("bad-", "anon-")) else message


def on_the_wall(delivery: Delivery, now_ms: Callable[[], int]) -> Message:
    """The message as if it arrived now: its times lie as far before (or ahead of) now as they did in the world. What
    is no time stays as it is.

    >>> on_the_wall(Delivery(5000, {"timestamp": stamp(2000)}), lambda: 100_000)
    {'timestamp': '1970-01-01T00:01:37.000Z'}
    """
    times: Message = {}
    for name in TIMES:
        try:
            at = datetime.fromisoformat(str(delivery.message[name])).timestamp() * 1000
        except (KeyError, ValueError):
            continue
        times[name] = stamp(now_ms() - delivery.at + round(at))
    return {**delivery.message, **times}
