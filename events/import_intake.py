"""The door for imports: facts of the past, in the order of one producer.

``POST /v1/import`` with the API key and the body
``{"producer": "journey-…", "first_seq": 1, "stamp": true, "batch": [...]}``. Event i of the batch has the number
``first_seq + i``; every partition keeps the highest number it took from each producer and drops what is not above it,
so an import may be sent again from any earlier point. Besides Segment events a batch holds ``{"type": "item", ...}``
(fields as in ``POST /v1/items``, whole), ``{"type": "import_started", ...}`` and ``{"type": "import_completed", ...}``.

With ``stamp`` the draft asks for ``appended`` = its event time; the partition honours that only in an empty log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from events import payload
from events.body import open_body
from events.catalogue_intake import CatalogueIntake, read_item
from events.envelope import text
from events.errors import BadRequest, TooLarge
from events.ids import ItemId, Key, Millis, event_id, external_id, system_key
from events.intake import NOTHING_SHARED, Accepted, Intake, IntakeSettings, Origin, Outcome, Rejected
from events.lines import Enrich, no_enrichment
from events.reasons import Unfit
from events.record import Draft
from events.skew import event_time, parse_time
from events.types import ImportCompleted, ImportStarted, ItemUpserted, Meta
from events.vocabulary import Vocabulary

IMPORT_EVENT_BYTES_MAX: Final = 256 * 1024
"""A year's imports hold orders that no browser would send in one event."""
SEQ_MAX: Final = 1 << 62


class ImportBody(msgspec.Struct):
    """A part of an import."""

    producer: str
    first_seq: int
    batch: list[msgspec.Raw]
    stamp: bool = False


class _Kind(msgspec.Struct):
    type: object = None


_BODY = msgspec.json.Decoder(ImportBody)
_KIND = msgspec.json.Decoder(_Kind)


class ImportIntake:
    """Reads import bodies with the limits of ``settings``, but for the size of one event."""

    def __init__(
        self,
        secret: bytes,
        settings: IntakeSettings,
        vocabulary: Vocabulary,
        enrich: Enrich = no_enrichment,
    ) -> None:
        self._secret = secret
        self._settings = replace(settings, event_bytes_max=IMPORT_EVENT_BYTES_MAX)
        self._intake = Intake(secret, self._settings, vocabulary, enrich)
        self._catalogue = CatalogueIntake(secret)

    def batch(self, body: bytes, received_at: Millis, encoding: str = "") -> list[Outcome]:
        """One outcome per event, in order; drafts carry producer, number and the wished-for ``appended``.

        Raises `BadRequest` for a body of another shape, `TooLarge` over the limits, `BadId` for the producer.
        """
        part = read_import(open_body(body, encoding, self._settings.body_bytes_max))
        if len(part.batch) > self._settings.events_max:
            raise TooLarge(f"the batch has {len(part.batch)} events: the most is {self._settings.events_max}")
        origin = Origin(part.producer, received_at, trusted=True)
        return [
            self._numbered(self._read(bytes(raw), seq, origin), seq, part)
            for seq, raw in enumerate(part.batch, part.first_seq)
        ]

    def _read(self, data: bytes, seq: int, origin: Origin) -> Outcome:
        try:
            kind = _KIND.decode(data).type
            if kind == "item":
                return Accepted(self._item(data, seq, origin))
            if kind in ("import_started", "import_completed"):
                return Accepted(self._boundary(str(kind), data, seq, origin))
        except Unfit as unfit:
            return Rejected(unfit.reason, unfit.detail, data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # the intake says what is wrong with it
        return self._intake.read(data, NOTHING_SHARED, origin)

    def _item(self, data: bytes, seq: int, origin: Origin) -> Draft:
        fields = read_item(data)
        at = _time_of(fields, origin)
        entry = self._catalogue.upsert({n: v for n, v in fields.items() if n not in ("type", "timestamp")}, {})
        assert isinstance(entry, ItemUpserted)
        return self._catalogue.draft(ItemId(entry.item), entry, f"{origin.write_key}#{seq}", at, origin.received_at)

    def _boundary(self, kind: str, data: bytes, seq: int, origin: Origin) -> Draft:
        """The fact that an import began or ended; owned by the producer's system key."""
        fields = read_item(data)
        source, digest = text("source", fields.get("source")), text("source_hash", fields.get("source_hash"))
        event: ImportStarted | ImportCompleted
        if kind == "import_started":
            event = ImportStarted(
                origin.write_key, source, digest, _whole(fields, "shift_ms"), fields.get("stamped") is True
            )
        else:
            event = ImportCompleted(origin.write_key, source, digest, _whole(fields, "events"))
        name, version = payload.type_of(event)
        message_id = f"{origin.write_key}#{seq}"
        return Draft(
            key=import_key(origin.write_key),
            event_id=event_id(self._secret, origin.write_key, message_id),
            event_time=_time_of(fields, origin),
            type=name,
            version=version,
            payload=payload.encode(Meta(message_id=message_id, received_at=origin.received_at), event),
        )

    def _numbered(self, outcome: Outcome, seq: int, part: ImportBody) -> Outcome:
        """With its number, by which the fact is known: two equal rows of a source are two facts."""
        if isinstance(outcome, Rejected):
            return outcome
        draft = outcome.draft
        return Accepted(
            msgspec.structs.replace(
                draft,
                event_id=event_id(self._secret, part.producer, f"#{seq}"),
                producer=part.producer,
                seq=seq,
                appended=draft.event_time * 1000 if part.stamp else 0,
            )
        )


def import_key(producer: str) -> Key:
    """The key that owns the facts about one import."""
    return system_key(f"import:{producer}")


def read_import(body: bytes) -> ImportBody:
    """The parts of an import body. Raises `BadRequest`, `BadId`."""
    try:
        part = _BODY.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        raise BadRequest(
            f'the body must be {{"producer", "first_seq", "stamp", "batch": [...]}}: {wrong}'[:300]
        ) from None
    external_id("producer", part.producer)
    if not 1 <= part.first_seq <= SEQ_MAX:
        raise BadRequest(f"first_seq is {part.first_seq}: numbers start at 1")
    return part


def _time_of(fields: dict[str, object], origin: Origin) -> Millis:
    return event_time(parse_time(fields.get("timestamp")), 0, origin.received_at)


def _whole(fields: dict[str, object], name: str) -> int:
    value = fields.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > SEQ_MAX:
        raise Unfit("bad_type", f"{name} must be a whole number")
    return value
