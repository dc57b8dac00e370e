"""What is asked and what is answered: the shapes of ``/v1/recommend`` and its siblings."""

from __future__ import annotations

from typing import Annotated

import msgspec

from events.errors import BadRequest
from events.ids import ID_CHARS_MAX, Key, Micros, anonymous_key, item_id, user_key

IDS_MAX = 200
CANDIDATES_MAX = 500
CONTEXT_BYTES_MAX = 8_192
"""A context is logged with every decision, so it is kept small."""
TEXT_CHARS_MAX = 1_024

Ids = Annotated[tuple[str, ...], msgspec.Meta(max_length=IDS_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]


class RecommendRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question. Who asks is said by ``user_id``, else by ``anonymous_id``, else it is nobody."""

    user_id: str = ""
    anonymous_id: str = ""
    n: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 12
    surface: Text = "home"
    items: Ids = ()
    """Anchors: the product on the page, what lies in the cart. Never recommended themselves."""
    exclude: Ids = ()
    pinned: Ids = ()
    """Items that take the first slots whatever the evidence says, where they may be shown at all. Marked as forced in
    the decision: they enter no estimate and teach nothing."""
    category: Text = ""
    """Only items of this category or under it, parts joined by ``" > "``."""
    context: dict[str, object] = {}
    """Logged with the decision. ``context.consent`` and its relatives are honoured for this request."""
    request_id: Text = ""
    """The same id for the same person gets the same stored answer."""
    as_of: Micros | None = None
    """Answer as if it were then: profile and consent of that moment, today's catalogue and model. Nothing is logged."""
    test: bool = False
    """Answer and log, but teach nothing."""
    details: bool = False
    """Send title, category, price and so on with each item."""

    def key(self) -> Key | None:
        """Raises `BadId`."""
        if self.user_id:
            return user_key(self.user_id)
        return anonymous_key(self.anonymous_id) if self.anonymous_id else None

    def check(self, n_max: int) -> None:
        """What the types do not say. Raises `BadRequest`."""
        if self.n > n_max:
            raise BadRequest(f"`n` is {self.n}: at most {n_max} items are answered")
        if self.context and len(msgspec.json.encode(self.context)) > CONTEXT_BYTES_MAX:
            raise BadRequest(
                f"`context` is larger than {CONTEXT_BYTES_MAX} bytes: send what an answer may depend on only"
            )
        if self.items or self.exclude or self.pinned:
            _check_ids((*self.items, *self.exclude, *self.pinned))


class RankRequest(RecommendRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidates are the caller's, and so are the rules about repeats and labels: only what is hidden, unknown or
    excluded is left out."""

    n: Annotated[int, msgspec.Meta(ge=1, le=CANDIDATES_MAX)] = CANDIDATES_MAX
    candidates: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=CANDIDATES_MAX)]

    def check(self, n_max: int) -> None:
        RecommendRequest.check(self, CANDIDATES_MAX)
        _check_ids(self.candidates)


def _check_ids(named: tuple[str, ...]) -> None:
    """Raises `BadId` for the first that is no item id. All are looked at in one: 500 cost 0.1 ms one by one."""
    if not all(named) or max(map(len, named), default=0) > ID_CHARS_MAX or not "".join(named).isprintable():
        for one in named:
            item_id(one)


class AnsweredItem(msgspec.Struct, frozen=True, omit_defaults=True):
    item_id: str
    score: float
    """Relevance within this answer; not comparable between answers."""
    sources: tuple[str, ...]
    """The recommenders that speak for it, the strongest first."""
    reason: str
    """Why it is there, for a person to read."""
    propensity: float
    """Probability of this item in this slot, given the slots above it."""
    item: dict[str, object] | None = None
    """With ``details``: the catalogue's entry."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    recommendation_id: str | None
    """Send it back as ``list_id`` of "Product List Viewed". Null when nothing was logged."""
    user_id: str | None
    items: list[AnsweredItem]
    surface: str
    model_version: str
    profile_version: int | None
    """Facts folded into the profile the answer was made from; null when none was used."""
    as_of: str
    """The moment decayed values were read at, ISO 8601."""
    logged: bool
    """Whether a decision record was kept. Where not, nothing is learned from this answer."""
    approximate: bool = False
    """True with ``as_of``: the past profile, today's catalogue and model."""

    def json(self) -> bytes:
        return _ENCODER.encode(self)


_ENCODER = msgspec.json.Encoder()
