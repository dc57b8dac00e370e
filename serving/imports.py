"""Taking in the past: ``/v1/import`` (see `events.import_intake` for the body).

Needs the API key: an import may name times long past and items whole, which no browser should.
"""

from __future__ import annotations

from typing import Final

import msgspec

from events.clock import Clock, millis
from events.ids import external_id
from events.import_intake import ImportIntake
from events.intake import Accepted, Rejected
from serving.backend import Writer
from serving.http import Reply, Request, json_reply
from serving.router import Doc, Field, Route
from serving.writing import Writing, token_header


class Imports:
    """Routes of imports. ``body_bytes_max`` bounds a body as sent and again once inflated."""

    def __init__(
        self, intake: ImportIntake, writing: Writing, writer: Writer, clock: Clock, body_bytes_max: int
    ) -> None:
        self._intake = intake
        self._writing = writing
        self._writer = writer
        self._clock = clock
        self._body_bytes_max = body_bytes_max

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("POST",), "/v1/import", self.take, doc=TAKE),
            Route(("GET",), "/v1/import/{producer}", self.show, doc=SHOW),
        )

    async def take(self, request: Request) -> Reply:
        """Append a part of an import. What cannot be a fact is set aside and counted in the answer."""
        raw = await request.body(self._body_bytes_max)
        now = millis(self._clock.now())
        outcomes = self._intake.batch(raw, now, request.header(b"content-encoding"))
        drafts = [one.draft for one in outcomes if isinstance(one, Accepted)]
        rejected = [one for one in outcomes if isinstance(one, Rejected)]
        token = await self._writing.append(drafts)
        if rejected:
            await self._writing.set_aside(rejected)
        answer = {"success": True, "accepted": len(drafts), "rejected": len(rejected)}
        return json_reply(answer, headers=(token_header(token),))

    async def show(self, request: Request) -> Reply:
        """How far a producer came, and every import this store knows. Each partition takes a producer's events in
        order, so up to the lowest of its marks everything is kept."""
        producer = external_id("producer", request.params[0])
        state = await self._writer.imports(producer)
        mine = next((one for one in state.imports if one.producer == producer), None)
        return json_reply(
            {
                "producer": producer,
                "low": min(state.marks.values(), default=0),
                "high_water": {str(partition): seq for partition, seq in sorted(state.marks.items())},
                "completed": mine is not None and mine.completed,
                "shift_ms": None if mine is None else mine.shift_ms,
                "imports": [msgspec.structs.asdict(one) for one in state.imports],
            }
        )


_EVENT = {"type": "track", "userId": "900", "event": "Order Completed", "timestamp": "2026-01-31T12:00:00Z"}
TAKE: Final = Doc(
    "A part of an import: events of the past, numbered by their producer",
    "Imports",
    body=(
        Field("producer", "Names the import by its content", "journey-1a2b", required=True),
        Field("first_seq", "Number of the first event of this part; numbers start at 1", 1, required=True),
        Field("batch", "Segment events, and `item`, `import_started`, `import_completed`", [], required=True),
        Field("stamp", "Into an empty log: keep each event's time also as the time it was appended", False),
    ),
    example={"producer": "docs-example", "first_seq": 1, "batch": [_EVENT]},
    answer={"success": True, "accepted": 1, "rejected": 0},
    statuses=(200, 413, 503),
)
SHOW: Final = Doc(
    "How far a producer's import came (`low`: every event up to that number is kept), and all imports known",
    "Imports",
    path=(Field("producer", "As named in the import", "docs-example"),),
    answer={
        "producer": "docs-example",
        "low": 0,
        "high_water": {"0": 1, "1": 0},
        "completed": False,
        "shift_ms": None,
        "imports": [],
    },
    statuses=(200, 503),
)
