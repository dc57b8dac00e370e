"""A replica's memory of what it answered: decisions go in sealed, stored answers come out by request id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from events.errors import KeyMissing, NotFound
from events.ids import Key
from serving.answered import Answered
from serving.asked import Asked
from serving.decision import Decision, Owner, Place, encode, request_hash
from serving.decisions import Decisions
from serving.sealing import Sealer
from serving.spool import NO_REQUEST, Spool

Stored: TypeAlias = tuple[Place, Decision]


class Journal:
    """One per replica, not shared between threads. ``secret`` names requests; ``partition`` says whose vault holds a
    subject's key."""

    def __init__(
        self,
        spool: Spool,
        sealer: Sealer,
        answered: Answered,
        decisions: Decisions,
        secret: bytes,
        partition: Callable[[Key], int],
    ) -> None:
        self._spool = spool
        self._sealer = sealer
        self._answered = answered
        self._decisions = decisions
        self._secret = secret
        self._partition = partition

    @contextmanager
    def claim(self, who: Key | None, request_id: str) -> Iterator[tuple[bytes, Stored | None]]:
        """Hold a request while it is answered: its hash, and the decision stored for it, if any. Without an id there is
        nothing to hold. Raises `Unavailable` while another replica answers the same id."""
        if not request_id:
            yield NO_REQUEST, None
            return
        request = request_hash(self._secret, who, request_id)
        with self._answered.claim(request) as entry:
            stored: Stored | None = None
            if entry is not None:
                try:
                    stored = entry.place, self._decisions.open(entry)
                except NotFound:
                    pass  # erased with its subject: the request is answered anew
            yield request, stored

    def keep(self, decision: Decision, asked: Asked, request: bytes) -> Place | None:
        """Write a decision; None when that failed, and then nothing may be learned from the answer.

        A personal answer is sealed with the subject's key; one to somebody without facts yet, to nobody, or without
        consent belongs to a throw-away subject.
        """
        if asked.who is not None and asked.profile is not None and asked.profile.subject:
            owner = Owner(self._partition(asked.who), asked.profile.subject)
        else:
            owner = self._sealer.nobody()
        plain = encode(decision)
        try:
            return self._spool.write(
                asked.at,
                owner,
                lambda place: self._sealer.seal(owner, place, plain),
                request=request,
                test=decision.test,
            )
        except KeyMissing:
            return None  # erased while the answer was made

    def close(self) -> None:
        self._spool.close()
        self._answered.close()
