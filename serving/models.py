"""Models over HTTP: ``/v1/models``, promotion and rollback.

Promotion is one fact in the log (`events.types.ModelPromoted`). Before it is appended the artefact is checked byte by
byte and its verdict looked at; once it is durable the learner starts from the artefact's weights, and each replica goes
over to the pair (weights, artefact) between two requests. Whoever is killed on the way leaves the old pair serving.

Only the API key itself opens these: a page session does not.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec

from actors.history import Told
from events import payload
from events.clock import Clock, millis
from events.errors import BadRequest, Conflict, Corrupt, Unauthorized
from events.ids import Micros, event_id
from events.record import Draft
from events.types import DriftDetected, Meta, ModelPromoted
from serving.access import API_KEY
from serving.backend import Backend
from serving.http import Reply, Request, explained, json_reply
from serving.moments import moment_text
from serving.router import Doc, Field, Route
from serving.writing import Writing, token_header
from training.model import inspect
from training.registry import DRIFT_KEY, MODELS_KEY, Judged, Registry, Standing, standing

FACTS_MAX: Final = 10_000
"""Promotions looked at: one a day for 27 years."""
DRIFTS_SHOWN: Final = 20
BODY_BYTES_MAX: Final = 64 << 10
NAME_CHARS_MAX: Final = 128
SEEN_MS: Final = 2_000

T = TypeVar("T", ModelPromoted, DriftDetected)


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a promotion or rollback."""

    by: str = "hand"
    reasons: tuple[str, ...] = ()


_WISH: Final = msgspec.json.Decoder(Wish)


class Models:
    """Routes about models."""

    def __init__(self, registry: Registry, backend: Backend, writing: Writing, clock: Clock, secret: bytes) -> None:
        """``secret`` is `Secrets.event_id`."""
        self._registry = registry
        self._backend = backend
        self._writing = writing
        self._clock = clock
        self._secret = secret
        self._deciding = asyncio.Lock()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(("GET",), "/v1/models", self.listed, doc=LISTED),
            Route(("GET",), "/v1/models/{model}", self.show, doc=SHOW),
            Route(("POST",), "/v1/models/{model}/promote", self.promote, doc=PROMOTE),
            Route(("POST",), "/v1/models/rollback", self.roll_back, doc=ROLLBACK),
        )

    async def listed(self, request: Request) -> Reply:
        """All artefacts with their verdicts, what serves, and what drifted lately."""
        facts = await self._facts(ModelPromoted)
        now = standing(fact for _, fact in facts)
        drifts = (await self._facts(DriftDetected))[-DRIFTS_SHOWN:]
        return json_reply(
            {
                **_standing(now),
                "models": await asyncio.to_thread(self._models, now),
                "promotions": [_promotion(told, fact) for told, fact in reversed(facts)],
                "drift": [{"at": _at(told), **msgspec.structs.asdict(fact)} for told, fact in reversed(drifts)],
            }
        )

    async def show(self, request: Request) -> Reply:
        """One artefact: what it was made from, what it holds, what the gate said."""
        model = request.params[0]
        now = standing(fact for _, fact in await self._facts(ModelPromoted))
        manifest = await asyncio.to_thread(_readable, self._registry, model)
        return json_reply(
            {**_judged(self._registry.readable(model)), "model": model, "state": self._registry.state(model, now)}
            | {"manifest": manifest}
        )

    async def promote(self, request: Request) -> Reply:
        """Have a model serve. One that serves already is left as it is."""
        wish, model = await _wish(request), request.params[0]
        async with self._deciding:
            now = standing(fact for _, fact in await self._facts(ModelPromoted))
            if model == now.champion:
                return json_reply({"applied": False, **_standing(now)})
            try:
                judged = await asyncio.to_thread(self._registry.check, model)
            except Corrupt as damaged:
                raise Conflict(str(damaged)) from None  # trying again later will not mend it
            fact = ModelPromoted(model, now.champion, wish.by, wish.reasons or judged.verdict.reasons)
            return await self._decided(request, fact)

    async def roll_back(self, request: Request) -> Reply:
        """Have the predecessor serve again, or fixed weights alone where there is none. Raises `Conflict` when no model
        serves or the predecessor's artefact is gone or damaged."""
        wish = await _wish(request)
        async with self._deciding:
            now = standing(fact for _, fact in await self._facts(ModelPromoted))
            if not now.champion:
                raise Conflict("no fitted model serves: there is nothing to roll back")
            if now.predecessor:
                try:
                    await asyncio.to_thread(self._registry.check, now.predecessor)
                except Corrupt as damaged:
                    raise Conflict(str(damaged)) from None
            return await self._decided(
                request, ModelPromoted(now.predecessor, now.champion, wish.by, wish.reasons, True)
            )

    async def _decided(self, request: Request, fact: ModelPromoted) -> Reply:
        name, version = payload.type_of(fact)
        at = millis(self._clock.now())
        message_id = f"models#{request.own_id}"
        draft = Draft(
            key=MODELS_KEY,
            event_id=event_id(self._secret, "models", message_id),
            event_time=at,
            type=name,
            version=version,
            payload=payload.encode(Meta(message_id=message_id, received_at=at), fact),
        )
        token = await self._writing.append([draft])
        await self._backend.seen(token, SEEN_MS)
        now = standing(told for _, told in await self._facts(ModelPromoted))
        return json_reply({"applied": True, **_standing(now)}, headers=(token_header(token),))

    async def _facts(self, kind: type[T]) -> list[tuple[Told, T]]:
        """Oldest first."""
        key = MODELS_KEY if kind is ModelPromoted else DRIFT_KEY
        told = await self._backend.history(key, FACTS_MAX)
        return [(one, event) for one in reversed(told) if isinstance(event := one.payload.event, kind)]

    def _models(self, now: Standing) -> list[dict[str, object]]:
        """Newest verdict first, those without one last."""
        found = [(self._registry.readable(model), model) for model in self._registry.ids()]
        found.sort(key=lambda one: (-one[0].at if one[0] else 0, one[1]))
        return [{"model": m, "state": self._registry.state(m, now), **_judged(judged)} for judged, m in found]


async def _wish(request: Request) -> Wish:
    if not request.trusted:
        raise Unauthorized(API_KEY)
    body = await request.body(BODY_BYTES_MAX)
    try:
        wish = _WISH.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise BadRequest(explained(error, Wish)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest('the body is not JSON: send {"by": "...", "reasons": ["..."]} or nothing') from None
    if len(wish.by) > NAME_CHARS_MAX:
        raise BadRequest(f"`by` has {len(wish.by)} characters: the most is {NAME_CHARS_MAX}")
    return wish


def _readable(registry: Registry, model: str) -> object:
    try:
        return msgspec.to_builtins(inspect(registry.folder, model))
    except Corrupt as damaged:
        raise Conflict(str(damaged)) from None


def _standing(now: Standing) -> dict[str, object]:
    return {"champion": now.champion, "predecessor": now.predecessor}


def _judged(judged: Judged | None) -> dict[str, object]:
    return {"judged": None if judged is None else msgspec.to_builtins(judged)}


def _promotion(told: Told, fact: ModelPromoted) -> dict[str, object]:
    return {"at": _at(told), **msgspec.structs.asdict(fact)}


def _at(told: Told) -> str:
    return moment_text(Micros(told.record.appended))


_MODEL: Final = Field("model", "Id of the artefact", "0123456789abcdef0123456789abcdef")
_WISHED: Final = (
    Field("by", "Who decides, for the record", "hand"),
    Field("reasons", "Why; left out: what the gate said", []),
)
_DONE: Final = {"applied": True, "champion": "0123456789abcdef0123456789abcdef", "predecessor": ""}
LISTED: Final = Doc(
    "Every model with the gate's verdict, what serves, and what drifted lately", "Models", statuses=(200, 503)
)
SHOW: Final = Doc(
    "What a model was made from, and what the gate said of it", "Models", path=(_MODEL,), statuses=(200, 404, 409)
)
PROMOTE: Final = Doc(
    "Have a model serve; refused for one that was rejected, never judged, or damaged",
    "Models",
    path=(_MODEL,),
    body=_WISHED,
    example={"by": "docs"},
    answer=_DONE,
    statuses=(200, 404, 409, 503),
)
ROLLBACK: Final = Doc(
    "Have the model before serve again, or fixed weights alone",
    "Models",
    body=_WISHED,
    example={"by": "docs"},
    answer=_DONE,
    statuses=(200, 409, 503),
)
