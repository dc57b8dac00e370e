"""People of a simulated world who use a service that is being broken meanwhile, and note everything they were told.

Each sends a request again until it is answered, with the same ids, as SDKs do. Every sixth refuses personalization from
the start. Now and then an item is hidden, for good.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from dataclasses import dataclass, field

from running import Answer, Running

from events.types import Json
from simulate import payloads
from simulate.visitors import comers
from simulate.world import Visit, World
from simulate.world_spec import SPECS

REFUSAL: dict[str, Json] = {"consent": {"categoryPreferences": {"personalization": False}}}
HIDE_EVERY = 25
TWICE_EVERY = 5
"""Batches after which one is sent again although it was taken, as by an SDK that did not hear so."""
AGAIN_S = 0.1


@dataclass(frozen=True)
class Told:
    """An answer somebody got. ``hidden``: items known to be hidden before it was asked for."""

    recommendation_id: str
    logged: bool
    items: tuple[str, ...]
    propensities: tuple[float, ...]
    refused: bool
    profile_version: int | None
    hidden: frozenset[str]


@dataclass
class Notes:
    """What they were told. ``acknowledged``: message ids by the key they belong to, ``u:…`` or ``a:…``."""

    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    answers: list[Told] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)
    batches: int = 0


class Crowd:
    """One thread of people, started and stopped by ``with``."""

    def __init__(self, service: Running, number: int, of: int, stop: threading.Event) -> None:
        self._service = service
        self._world = World(SPECS["tiny"], 11, (), (number, of))
        self._number = number
        self._stop = stop
        self._hidden: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._live, name=f"crowd-{number}", daemon=True)
        self.notes = Notes()
        self.failed: BaseException | None = None

    def catalogue(self) -> list[dict[str, Json]]:
        return payloads.entries(self._world.shelf, self._world.spec.start_ms)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.failed is not None:
            raise self.failed

    def _live(self) -> None:
        try:
            for number, visit in enumerate(comers(self._world)):
                if self._stop.wait(0.01) or not self._visit(visit):
                    return
                if number % HIDE_EVERY == HIDE_EVERY - 1:
                    self._hide()
        except BaseException as error:
            self.failed = error

    def _visit(self, visit: Visit) -> bool:
        """One list and what comes of it; False when the end came first."""
        answered = self._ask(visit)
        if answered is None:
            return False
        messages = payloads.opening(visit)
        slate = [str(item["item_id"]) for item in answered["items"]]  # type: ignore[attr-defined]
        outcome, list_id = self._world.answer(visit, slate), str(answered["recommendation_id"] or "")
        if outcome.seen and list_id:
            messages.append(payloads.impression(visit, outcome, list_id))
        messages += [message for _, message in payloads.acts(visit, outcome, list_id)]
        messages += [message for _, message in payloads.organic(visit, self._world.organic(visit))]
        return self._send(visit, messages)

    def _ask(self, visit: Visit) -> dict[str, object] | None:
        refused, hidden = refuses(visit), self._hidden
        who = {"user_id": visit.user_id} if visit.user_id else {"anonymous_id": visit.anonymous_id}
        body = {
            **who,
            "n": 10,
            "surface": visit.surface,
            "items": list(visit.items),
            "request_id": f"{visit.key:x}",
            "context": REFUSAL if refused else {},
        }
        answer = self._until_taken("POST", "/v1/recommend", body)
        if answer is None:
            return None
        told = answer.json
        items: list[dict[str, object]] = told["items"]  # type: ignore[assignment]
        self.notes.answers.append(
            Told(
                str(told["recommendation_id"] or ""),
                bool(told["logged"]),
                tuple(str(item["item_id"]) for item in items),
                tuple(float(str(item["propensity"])) for item in items),
                refused,
                told["profile_version"],  # type: ignore[arg-type]
                hidden,
            )
        )
        return told

    def _send(self, visit: Visit, messages: list[payloads.Message]) -> bool:
        events: list[dict[str, object]] = []
        for message in messages:
            del message["timestamp"]
            context = message["context"]
            assert isinstance(context, dict)
            events.append({**message, "context": {**context, **REFUSAL} if refuses(visit) else context})
        while not self._stop.is_set():
            answer = self._once(lambda: self._service.send(events, timeout=8))
            if answer is not None and answer.status == 200:
                key = f"u:{visit.user_id}" if visit.user_id else f"a:{visit.anonymous_id}"
                self.notes.acknowledged.setdefault(key, []).extend(str(event["messageId"]) for event in events)
                self.notes.batches += 1
                if self.notes.batches % TWICE_EVERY == 0:
                    self._once(lambda: self._service.send(events, timeout=8))
                return True
            self._stop.wait(AGAIN_S)
        return False

    def _hide(self) -> None:
        """One more item of the shelf, each thread its own. Known to be hidden once the write was answered with 200:
        then every answer knows it."""
        place = len(self._hidden) * 2 + self._number
        item = self._world.shelf.ids[(place * 7) % len(self._world.shelf.ids)]
        answer = self._until_taken("POST", "/v1/items", {"items": [{"item_id": item, "hidden": True}]})
        if answer is not None and answer.status == 200:
            self._hidden |= {item}

    def _until_taken(self, method: str, path: str, body: object) -> Answer | None:
        while not self._stop.is_set():
            answer = self._once(lambda: self._service.call(method, path, body, timeout=8))
            if answer is not None and answer.status < 300:
                return answer
            self._stop.wait(AGAIN_S)
        return None

    def _once(self, attempt):  # type: ignore[no-untyped-def]
        """One try; nothing where no answer came."""
        try:
            answer = attempt()
        except (OSError, http.client.HTTPException) as error:
            self.notes.statuses[type(error).__name__] += 1
            return None
        self.notes.statuses[answer.status] += 1
        return answer


def refuses(visit: Visit) -> bool:
    return visit.person % 6 == 0
