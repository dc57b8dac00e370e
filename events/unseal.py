"""From record to payload, telling an erased subject (skipped and counted) from a lost key (an error that stops)."""

from __future__ import annotations

from events.errors import KeyMissing
from events.log import LogReader, scan
from events.payload import decode
from events.record import Record
from events.types import Payload
from events.vault import Owner, VaultReader

ERASED_TYPE = "subject_erased"
"""The one type that is stored unsealed, so that it can be read after the key is gone."""


class Unsealer:
    """Opens the records of one log. Not for use by several threads at once."""

    def __init__(self, log: LogReader, vault: VaultReader) -> None:
        self._log = log
        self._vault = vault
        self._erased: set[bytes] = set()
        self._from = 0
        self._to = 0
        self.skipped = 0
        """Records passed over because their subject was erased."""

    def payload(self, record: Record) -> Payload | None:
        """What the record says; None when its subject was erased (`subject_erased` itself can always be read).

        Raises as `unseal` does, and `UnknownEventType` for a type this version does not know.
        """
        if record.type == ERASED_TYPE:
            return decode(record.type, record.version, record.payload)
        unsealed = self.unseal(record)
        return None if unsealed is None else decode(record.type, record.version, unsealed[1])

    def unseal(self, record: Record) -> tuple[Owner, bytes] | None:
        """Whose a record, any but a `subject_erased`, is, and its plain payload; None when its subject was erased.

        Raises `KeyMissing` for a key that is gone without a `subject_erased` fact, `Corrupt` for bytes that fail
        their check.
        """
        try:
            opened = self._vault.open(record.subject)
        except KeyMissing as error:
            if not self._was_erased(record):
                raise KeyMissing(f"LSN {record.lsn} cannot be read: {error}") from None
            self.skipped += 1
            return None
        return opened.owner, opened.unseal(record.event_id, record.lsn, record.payload)

    def _was_erased(self, record: Record) -> bool:
        """Whether a later record says so. The log is read once from the first doubtful record on."""
        if record.subject in self._erased:
            return True
        end = self._log.bounds()[1]
        if self._from == self._to:
            self._from = self._to = record.lsn
        if record.lsn < self._from:
            self._look(record.lsn, self._from)
            self._from = record.lsn
        self._look(self._to, end)
        self._to = end
        return record.subject in self._erased

    def _look(self, start: int, stop: int) -> None:
        self._erased.update(r.subject for r in scan(self._log, start, stop) if r.type == ERASED_TYPE)
