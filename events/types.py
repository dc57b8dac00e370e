"""The closed, versioned table of event types: what a fact can be.

A stored record names its type by ``(name, version)``, chosen here by hand and never derived from a class path, so that
classes may be renamed. A body of an older version is lifted one step at a time by the pure functions in `UPCASTS`
(dict → dict); golden logs of every version ever written are kept in ``tests/golden/``. Adding a type means: a class,
a row in `EVENTS`, a case in ``actors.fold`` (mypy's ``assert_never`` insists), a golden record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

Json: TypeAlias = object
"""A JSON value: None, bool, int, float, str, list or dict of them. (`object`, because msgspec decodes no recursive
alias; `events.intake` bounds depth, width and size before anything gets here.)"""

Signal: TypeAlias = Literal[
    "view", "click", "cart", "uncart", "wish", "unwish", "purchase", "refund", "share", "rate", "watch", "search"
]
"""What a person did with an item. ``uncart``, ``unwish`` and ``refund`` weigh negatively in interests."""


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of every event body. Stored as a msgpack map by field name; fields equal to their default are left out,
    so a new field with a default needs no new version."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """One item of an interaction. Category, brand and attributes are those sent by the client or, where it sent none,
    those of the catalogue when the event came in; the fold needs nothing but the event."""

    item: str
    category: str = ""
    """Path from general to specific, parts joined by ``" > "``; at most 4 parts are folded."""
    brand: str = ""
    quantity: float = 1.0
    price: float = 0.0
    """Per unit, in the currency of the store; 0 when unknown."""
    attributes: tuple[str, ...] = ()
    """Further facets such as ``"colour:red"``, at most 8 are folded."""


class Interaction(Body, frozen=True, omit_defaults=True):
    """Somebody did something with one or more items (Product Viewed, Product Added, Order Completed, ...)."""

    signal: Signal
    lines: tuple[Line, ...] = ()
    name: str = ""
    """The event's name as the client sent it."""
    weight: float = 1.0
    """Strength from the vocabulary, |weight| <= 1e6; a rating's is the rating centred on its scale, in [-1, 1]."""
    list_id: str = ""
    """The recommendation that led here, when the client said so."""
    order_id: str = ""
    revenue: float = 0.0
    discount: float = 0.0
    """Money off, of everything in it; >= 0, in the currency of ``revenue``."""
    coupon: bool = False
    """Whether a coupon was used."""
    price_rank: float = -1.0
    """Mean over the lines of the share of their category's items that are cheaper, 0..1, by the catalogue's prices when
    the event came in; -1 when unknown."""
    dwell_ms: int = 0
    watched: float = 0.0
    """Share of a video or article consumed, 0..1."""
    query: str = ""
    properties: dict[str, Json] = {}
    """Whatever else the client sent, kept as it came."""


class Impression(Body, frozen=True, omit_defaults=True):
    """Items were really seen (Product List Viewed): not merely answered."""

    items: tuple[str, ...]
    list_id: str = ""
    name: str = ""
    properties: dict[str, Json] = {}


class Visited(Body, frozen=True, omit_defaults=True):
    """A page or screen was shown."""

    name: str = ""
    category: str = ""
    dwell_ms: int = 0
    scroll: float = 0.0
    """Deepest point reached, 0..1."""
    properties: dict[str, Json] = {}


class Identified(Body, frozen=True, omit_defaults=True):
    """Traits of a person; a trait sent as null is removed."""

    traits: dict[str, Json] = {}


class Grouped(Body, frozen=True, omit_defaults=True):
    group_id: str
    traits: dict[str, Json] = {}


class Aliased(Body, frozen=True, omit_defaults=True):
    """Two ids are said to be one person. Kept as a fact; merging comes with the identity work."""

    previous_id: str


class Consented(Body, frozen=True, omit_defaults=True):
    """Purposes granted or denied by an explicit choice. Also derived from ``context.consent`` of any event whose
    choices differ from none (see `Meta.consent`)."""

    purposes: dict[str, bool]
    source: str = ""


class Exposed(Body, frozen=True, omit_defaults=True):
    """Experiment Viewed: this profile was shown a variation."""

    experiment: str
    variation: str
    properties: dict[str, Json] = {}


class Tracked(Body, frozen=True, omit_defaults=True):
    """An event whose name the vocabulary does not know: a fact with weight 0, never refused."""

    name: str
    properties: dict[str, Json] = {}


class ItemUpserted(Body, frozen=True, omit_defaults=True):
    """A catalogue entry, whole: fields left out take their default. Partial updates are resolved at the door."""

    item: str
    title: str = ""
    category: str = ""
    brand: str = ""
    item_group: str = ""
    """The label a person sees; two items of one group never stand in one row. Empty: the title."""
    price: float = 0.0
    stock: int = -1
    """-1: not tracked. 0: filtered out of answers."""
    hidden: bool = False
    recommendable: bool = True
    attributes: tuple[str, ...] = ()
    text: str = ""
    url: str = ""
    image: str = ""


class ItemDeleted(Body, frozen=True, omit_defaults=True):
    item: str


class SubjectErased(Body, frozen=True, omit_defaults=True):
    """This subject's key was destroyed; every earlier record of it is unreadable and skipped by replay. The body of
    this record holds no personal data and is stored unsealed."""

    reason: str = ""


class ImportStarted(Body, frozen=True, omit_defaults=True):
    producer: str
    source: str
    source_hash: str
    shift_ms: int = 0
    """Added to every time of the source; a whole number of weeks."""
    stamped: bool = False
    """Whether ``appended`` was stamped with the shifted time."""


class ImportCompleted(Body, frozen=True, omit_defaults=True):
    producer: str
    source: str
    source_hash: str
    events: int = 0


class SegmentChanged(Body, frozen=True, omit_defaults=True):
    """A profile entered or left a segment; written by segment actors through their outbox."""

    segment: str
    entered: bool
    evidence: dict[str, Json] = {}


class ContentAlerted(Body, frozen=True, omit_defaults=True):
    """New items came in that somebody has a strong interest in; written by the follower of content alerts."""

    items: tuple[str, ...]
    """The most wanted first."""
    interest: str
    """The interest key that the first one meets."""
    strength: float
    """How strong that interest was, as profiles have it."""


class ModelPromoted(Body, frozen=True, omit_defaults=True):
    """From here on the service answers with another fitted model; going back to an earlier one is such a fact too.
    The facts about models share one key of the store's own, so their order is the log's."""

    model: str
    """Id of the artefact; empty: none, fixed weights alone."""
    previous: str = ""
    """What served until now; empty: none."""
    by: str = ""
    """Who decided: ``gate``, ``schedule``, or the name given with the request."""
    reasons: tuple[str, ...] = ()
    rollback: bool = False


class DriftDetected(Body, frozen=True, omit_defaults=True):
    """The world a model was fitted on has changed, as a detector sees it; shares the key of `ModelPromoted`."""

    model: str
    """Which prediction drifted, such as ``home/click``."""
    detectors: tuple[str, ...] = ()
    """Those that agree, such as ``adwin`` and ``psi``."""
    segment: str = ""
    """Empty: everybody."""
    evidence: dict[str, Json] = {}
    """Means before and after, statistics, the window."""


class SegmentDefined(Body, frozen=True, omit_defaults=True):
    """A segment is this from here on; an earlier definition of the name is replaced. The facts about segments share one
    key of the store's own, so their order is the log's. ``actors.segment_definition`` says what makes sense."""

    name: str
    rule: str = ""
    """Who enters, in the language of ``actors.segment_syntax``. Empty for a cluster."""
    stay: str = ""
    """A member stays while this holds; empty: while ``rule`` does."""
    kind: Literal["rule", "cluster", "score"] = "rule"
    version: int = 1
    description: str = ""
    cluster: dict[str, Json] = {}
    """What a cluster's membership is computed from (``actors.segment_cluster``)."""
    by: str = ""
    """Who said so: ``settings``, ``clusters``, or the name given with the request."""


class SegmentDropped(Body, frozen=True, omit_defaults=True):
    """There is no such segment any more; whoever was in it leaves."""

    name: str
    by: str = ""


Event: TypeAlias = (
    Interaction
    | Impression
    | Visited
    | Identified
    | Grouped
    | Aliased
    | Consented
    | Exposed
    | Tracked
    | ItemUpserted
    | ItemDeleted
    | SubjectErased
    | ImportStarted
    | ImportCompleted
    | SegmentChanged
    | ModelPromoted
    | DriftDetected
    | SegmentDefined
    | SegmentDropped
    | ContentAlerted
)

EVENTS: Final[Mapping[tuple[str, int], type[Event]]] = {
    ("interaction", 1): Interaction,
    ("impression", 1): Impression,
    ("visited", 1): Visited,
    ("identified", 1): Identified,
    ("grouped", 1): Grouped,
    ("aliased", 1): Aliased,
    ("consented", 1): Consented,
    ("exposed", 1): Exposed,
    ("tracked", 1): Tracked,
    ("item_upserted", 1): ItemUpserted,
    ("item_deleted", 1): ItemDeleted,
    ("subject_erased", 1): SubjectErased,
    ("import_started", 1): ImportStarted,
    ("import_completed", 1): ImportCompleted,
    ("segment_changed", 1): SegmentChanged,
    ("model_promoted", 1): ModelPromoted,
    ("drift_detected", 1): DriftDetected,
    ("segment_defined", 1): SegmentDefined,
    ("segment_dropped", 1): SegmentDropped,
    ("content_alerted", 1): ContentAlerted,
}
"""The newest version of every type. Older versions live on in `UPCASTS`."""

Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTS: Final[Mapping[tuple[str, int], Upcast]] = {}
"""``(name, v)`` → function from a version-v body to version v + 1."""

NAME_OF: Final[Mapping[type[Event], tuple[str, int]]] = {kind: name for name, kind in EVENTS.items()}


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What surrounds an event: personal, so it travels inside the sealed payload."""

    message_id: str = ""
    user_id: str = ""
    anonymous_id: str = ""
    original_at: int = 0
    """originalTimestamp as sent, ms; 0 when none."""
    sent_at: int = 0
    received_at: int = 0
    consent: dict[str, bool] = {}
    """Purposes decided by this event's ``context.consent`` (or its equivalents). Folded before the body."""
    gpc: bool = False
    """``Sec-GPC: 1`` came with it: ``sale_share`` is denied."""
    default_consent: bool = True
    """The store's default for purposes never decided, when this event came in; recorded so that replay agrees."""
    test: bool = False
    """Marked as test traffic: kept, folded, never learned from."""
    bot: bool = False
    context: dict[str, Json] = {}
    """The client's context (library, locale, page, campaign, device, ...), without what stands above."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed: the surroundings and the body."""

    meta: Meta
    event: Event
