"""The tree of expected failures. Each says what happened, to which id, and what to do, and has its HTTP status.

Impossible states are asserted instead. A malformed event is not an error but a *quarantine reason* (a value), so that
it never fails the batch it came in.
"""

from __future__ import annotations

from typing import ClassVar


class EverfoldError(Exception):
    """Base of every expected failure.

    ``status`` is the HTTP status it becomes; ``code`` a stable machine-readable word; ``retry_after_s`` is set where
    the same call may succeed later.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "error"
    retry_after_s: int | None = None

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class BadRequest(EverfoldError):
    """The caller sent something that can never succeed."""

    status = 400
    code = "bad_request"


class BadId(BadRequest):
    """An id that cannot be accepted."""

    code = "bad_id"


class TooLarge(BadRequest):
    """A body or event over its limit."""

    status = 413
    code = "too_large"


class Unauthorized(EverfoldError):
    """No key, or not the right one."""

    status = 401
    code = "unauthorized"


class NotFound(EverfoldError):
    status = 404
    code = "not_found"


class Conflict(EverfoldError):
    """The call contradicts what the store holds (a second import, another number of partitions)."""

    status = 409
    code = "conflict"


class Unavailable(EverfoldError):
    """Cannot be done now; the same call, with the same ids, may succeed later."""

    status = 503
    code = "unavailable"
    retry_after_s = 1


class DiskFull(Unavailable):
    """Free space is under the floor, or a write came up short. Nothing was kept of it."""

    code = "disk_full"
    retry_after_s = 10


class NotOwner(Unavailable):
    """This process does not own the partition, or no longer does."""

    code = "not_owner"


class Held(Unavailable):
    """Another live process holds the partition's lock; the message names its pid."""

    code = "held"


class SyncFailed(Unavailable):
    """fsync failed: what is on disk is unknown, so this process stops writing for good (never retried)."""

    code = "sync_failed"


class PartitionStopped(Unavailable):
    """The partition takes no writes until someone acts: corruption or a fact that does not fold."""

    code = "partition_stopped"
    retry_after_s = 30


class Corrupt(PartitionStopped):
    """Stored bytes fail their check where that cannot be a torn tail. Nothing is repaired by dropping."""

    code = "corrupt"


class KeyMissing(PartitionStopped):
    """A subject's key is gone without a `subject_erased` fact: replay stops rather than skip silently."""

    code = "key_missing"


class UnknownEventType(PartitionStopped):
    """A record's (type, version) is not in the table: written by a newer Everfold."""

    code = "unknown_event_type"


class BadSettings(EverfoldError):
    """``everfold.toml`` or an environment override is wrong; the message names key and nearest valid one."""

    status = 500
    code = "bad_settings"
