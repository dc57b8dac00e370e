"""Handing facts to the log within bounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from events.clock import SystemClock
from events.ids import Millis
from events.intake import Accepted, Intake, Origin
from events.record import Draft
from serving.embedded import Embedded
from serving.metrics import Merged, Numbers
from serving.settings import ServerSettings, Settings
from serving.token import Token
from serving.writing import Overloaded, TooSlow, Writing

CLOCK = SystemClock()


def drafts(embedded: Embedded, *ids: str) -> list[Draft]:
    settings = Settings()
    intake = Intake(embedded.replica.store.secrets.event_id, settings.intake(), settings.event_vocabulary())
    events = ",".join(f'{{"type":"page","userId":"{each}","messageId":"{each}"}}' for each in ids)
    taken = intake.batch(f'{{"batch":[{events}]}}'.encode(), Origin("wk", Millis(1_790_000_000_000)))
    return [each.draft for each in taken if isinstance(each, Accepted)]


def writing(embedded: Embedded, numbers: Numbers, **limits: int) -> Writing:
    return Writing(embedded.backend, ServerSettings.model_validate(limits), CLOCK, numbers)


def counted(numbers: Numbers) -> Sequence[str]:
    merged = Merged()
    merged.add(numbers.read())
    return merged.text().splitlines()


def test_more_writes_at_once_than_allowed_are_refused_and_succeed_later(tmp_path: Path) -> None:
    async def run() -> None:
        embedded = await Embedded.open(tmp_path / "data", Settings(), CLOCK)
        try:
            numbers = Numbers()
            doors = writing(embedded, numbers, in_flight_max=1)
            first, second = drafts(embedded, "a"), drafts(embedded, "b")
            taken, refused = await asyncio.gather(doors.append(first), doors.append(second), return_exceptions=True)
            assert isinstance(taken, Token)
            assert isinstance(refused, Overloaded)
            assert (refused.status, refused.retry_after_s) == (503, 1)
            assert isinstance(await doors.append(second), Token)
            text = counted(numbers)
            assert 'everfold_events_total{outcome="ok"} 2' in text
            assert 'everfold_writes_refused_total{code="overloaded"} 1' in text
        finally:
            await embedded.close()

    asyncio.run(run())


def test_a_write_that_takes_too_long_is_told_to_be_sent_again(tmp_path: Path) -> None:
    async def run() -> None:
        embedded = await Embedded.open(tmp_path / "data", Settings(), CLOCK)
        try:
            numbers = Numbers()
            hasty = writing(embedded, numbers, write_deadline_ms=100)
            late = drafts(embedded, "late")
            free = threading.Event()
            embedded.host._writer.call(lambda: free.wait(30))  # as an fsync that hangs would
            with pytest.raises(TooSlow):
                await hasty.append(late)
            free.set()
            assert isinstance(await writing(embedded, numbers).append(late), Token)
            assert 'everfold_writes_refused_total{code="too_slow"} 1' in counted(numbers)
        finally:
            await embedded.close()

    asyncio.run(run())
