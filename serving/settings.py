"""Every setting there is, in one model: built once at the start, handed down in pieces.

Read from ``DIR/everfold.toml``, then from the environment: ``EVERFOLD_`` + section + ``__`` + key, for example
``EVERFOLD_SERVER__PORT=9000``. An unknown key, in either, is an error that names it and the nearest valid one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from actors.content_alerts import STRONG
from actors.segment_cluster import CLUSTERS_MAX
from actors.segment_definition import BadDefinition, Definitions, understood
from actors.sessions import SessionPolicy
from events.errors import BadRequest, BadSettings
from events.intake import IntakeSettings
from events.segment_log import SegmentSettings
from events.types import SegmentDefined
from events.vocabulary import Vocabulary, read_table
from serving.http import did_you_mean
from training.attribution import HOUR_US, Windows
from training.cluster_features import K_MAX, K_MIN, measures_of
from training.gate import GatePolicy
from training.inventory import INVENTORY
from training.learner.settings import LearnerSettings, Loss
from training.surface import SURFACES, Surface, Values

FILE = "everfold.toml"
PREFIX = "EVERFOLD_"
RESERVED = frozenset({"EVERFOLD_RUN", "EVERFOLD_REQUIRE"})
"""Environment names with that prefix that are not settings: the supervisor's stamp on its children, and what a test
run may not skip."""


class Section(BaseModel):
    """Base of every section: closed and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerSettings(Section):
    """The HTTP side."""

    host: str = "127.0.0.1"
    """Loopback unless told otherwise: opening a service to the network is a decision."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    replicas: Annotated[int, Field(ge=1, le=64)] = 2
    """Two, so that one can die unseen."""
    body_bytes_max: Annotated[int, Field(ge=1024, le=64 << 20)] = 4 << 20
    """Largest request body, as sent and again once inflated. RudderStack clients send up to 4,000 kB."""
    in_flight_max: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Write requests a replica holds at once; more are answered 503, which SDKs retry. 512 x 100 events at 12,000/s is
    what a host works off within the 5 s deadline."""
    write_deadline_ms: Annotated[int, Field(ge=100, le=60_000)] = 5_000
    read_deadline_ms: Annotated[int, Field(ge=10, le=60_000)] = 200
    """How long a read waits for the host before it is answered from the last committed state."""
    after_wait_ms: Annotated[int, Field(ge=0, le=10_000)] = 2_000
    """How long ``after=token`` and a catalogue write wait for readers to catch up."""
    log_requests: Literal["errors", "all"] = "errors"
    """``errors``: requests answered 400 and above, or slower than a quarter of a second."""


class StoreSettings(Section):
    """Log and state. The number of partitions is fixed when a store is made."""

    partitions: Annotated[int, Field(ge=1, le=1024)] = 2
    """Two on one machine: each partition is an fsync of its own. 64 and more for clusters."""
    pinned: tuple[Annotated[str, Field(pattern="^[ua]:.")], ...] = ()
    """Keys (``u:`` + userId, ``a:`` + anonymousId) with a partition and a host process of their own: a huge tenant, a
    bot under watch. Like the number of partitions fixed when a store is made."""
    profiles_cached_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 20
    """Of profiles kept decoded in the host per partition, least recently used dropped: about 5,000 of 2 kB."""
    free_bytes_min: Annotated[int, Field(ge=0)] = SegmentSettings().floor_bytes
    """Below this much free disk, writes are refused before anything is touched: by the logs of facts, of what was set
    aside and of decisions alike. State and checkpoints need room to finish."""
    checkpoint_s: Annotated[int, Field(ge=5, le=86_400)] = 600


class ConsentSettings(Section):
    default: bool = True
    """Whether purposes nobody decided on count as granted. Set it to false where the law asks for opt-in; it is
    recorded with every event, so changing it changes nothing that was folded."""


class RecommendSettings(Section):
    """The answer path. What a surface does stands in `training.surface`."""

    n_max: Annotated[int, Field(ge=1, le=1000)] = 100
    """Longest list that may be asked for."""
    candidates_logged: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of decisions that keep all candidates with their scores; shown items are kept always."""


class LearningSettings(Section):
    """What is learned of answers while they are given."""

    enabled: bool = True
    """Without it surfaces keep the weights they have, or those that came with the model that was promoted last."""
    loss: Loss = LearnerSettings().loss
    """`listwise` learns what orders a list and, apart from it, how much comes of lists at all; `pointwise` learns both
    at once."""
    propensity_clip: Annotated[float, Field(ge=0, le=1000)] = LearnerSettings().clip
    """Rows weigh min(1 / propensity, clip); 0: all alike."""
    click_minutes: Annotated[float, Field(gt=0, le=7 * 1440)] = 30.0
    cart_hours: Annotated[float, Field(gt=0, le=24 * 14)] = 24.0
    purchase_days: Annotated[float, Field(gt=0, le=21)] = 7.0
    """How long after its impression an outcome counts. At most 21 days: decisions are kept for 30."""
    rows_per_hour: Annotated[int, Field(ge=1)] = LearnerSettings().rows_per_hour
    acts_per_hour: Annotated[int, Field(ge=1)] = LearnerSettings().positives_per_hour
    """What one person can teach per hour: shown items, and acts on them."""
    lists_max: Annotated[int, Field(ge=1)] = LearnerSettings().lists_max
    """Lists waiting for their windows to close, about 500 bytes each."""

    def learner(self) -> LearnerSettings:
        minute = HOUR_US // 60
        windows = Windows(
            click=int(self.click_minutes * minute),
            cart=int(self.cart_hours * HOUR_US),
            purchase=int(self.purchase_days * 24 * HOUR_US),
        )
        return LearnerSettings(
            windows=windows,
            loss=self.loss,
            clip=self.propensity_clip,
            rows_per_hour=self.rows_per_hour,
            positives_per_hour=self.acts_per_hour,
            lists_max=self.lists_max,
            learns=self.enabled,
        )


class SessionSettings(Section):
    """Where one session ends and the next begins. Read when sessions are shown: changing it refolds nothing."""

    timeout_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 30.0
    """The pause that ends a session, as in Google Analytics 4."""
    campaign: bool = False
    """Whether another campaign begins another session."""
    midnight: bool = False
    """Whether midnight does."""
    utc_offset_minutes: Annotated[int, Field(ge=-14 * 60, le=14 * 60)] = 0
    """When midnight is, and when the weekend."""

    def policy(self) -> SessionPolicy:
        return SessionPolicy(
            timeout_ms=round(self.timeout_minutes * 60_000),
            campaign=self.campaign,
            midnight=self.midnight,
            offset_ms=self.utc_offset_minutes * 60_000,
        )


def _postable(address: str) -> str:
    """One that can be POSTed to, without a user in it: that would be logged with it."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        raise ValueError("is no address: use https://host/path") from None
    if not usable or parts.username is not None or not address.isascii() or not address.isprintable():
        raise ValueError("is no address to POST to: use https://host/path, without a user in it")
    if " " in address:
        raise ValueError("is no address: it holds a space")
    return address


class AlertsSettings(Section):
    """Whom to tell at once; see `serving.alerts`."""

    webhook: str = ""
    """``https://host/path`` that alerts are POSTed to; empty: nobody."""
    secret: SecretStr = SecretStr("")
    """What signatures are made with, 16 characters at least; better in the environment than in the file."""
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """For connecting, and for each read of the answer."""

    @field_validator("webhook")
    @classmethod
    def _address(cls, webhook: str) -> str:
        return _postable(webhook) if webhook else webhook

    @model_validator(mode="after")
    def _signed(self) -> AlertsSettings:
        """No webhook without a secret: its receiver could not tell us from anybody."""
        if self.webhook and len(self.secret.get_secret_value()) < 16:
            raise ValueError("alerts.secret must have 16 characters or more where there is a webhook")
        return self


class WebhookSettings(Section):
    """Whom to tell who enters and leaves segments; see `serving.webhooks`."""

    url: str
    """``https://host/path`` that transitions are POSTed to."""
    secret: SecretStr
    """What signatures are made with, 16 characters at least."""
    segments: tuple[str, ...] = ()
    """Only of these; empty: of all."""
    events: tuple[Literal["segment_entered", "segment_exited", "content_alert"], ...] = (
        "segment_entered",
        "segment_exited",
    )
    """``content_alert`` (of no segment) is told where it is named here."""
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """For connecting, and for each read of the answer."""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        return _postable(url)

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < 16:
            raise ValueError("has fewer than 16 characters: its receiver could not tell us from anybody")
        return secret


class ContentAlertSettings(Section):
    """Whether people are told of new items they have a strong interest in; see `actors.content_alerts`."""

    enabled: bool = True
    strength: Annotated[float, Field(gt=0, le=1_000)] = STRONG
    """How strong an interest has to be, in the weights of `actors.signals`."""


class RetrainSettings(Section):
    """When models are fitted again, and how they are judged."""

    enabled: bool = True
    """Whether the service starts retraining by itself: first when a history was imported, then on drift and on
    schedule. By hand it can always be started."""
    every_days: Annotated[float, Field(gt=0)] = 30.0
    """The schedule: slow changes need no detector."""
    cooldown_hours: Annotated[float, Field(ge=0)] = 24.0
    """Drift and erasures do not start retraining sooner than this after the last: a model fitted an hour ago would
    learn nothing new."""
    shadow_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24.0
    """How long a challenger without off-policy evidence is scored in silence before it is judged again, on what
    happened since. 0: what the gate would put into shadow is promoted at once."""
    records_min: Annotated[int, Field(ge=1)] = 10_000
    """Records in the log from which a first model is fitted where nothing was imported."""
    window_days: Annotated[float, Field(gt=0, le=3650)] = 14.0
    seed: Annotated[int, Field(ge=0)] = 1
    kept: Annotated[int, Field(ge=0)] = 5
    """Artefacts kept besides those in use."""
    gate: GatePolicy = GatePolicy()


class SegmentEntry(Section):
    """A segment the settings define, in ``[[segments]]``; it is what it says there at every start."""

    name: str
    rule: str = ""
    """Who enters, in the language of `actors.segment_syntax`."""
    stay: str = ""
    """Who stays once in; empty: whoever enters."""
    kind: Literal["rule", "score"] = "rule"
    description: str = ""
    enabled: bool = True
    """Without it there is no such segment, even if the service brings one."""

    def told(self, version: int) -> SegmentDefined:
        return SegmentDefined(self.name, self.rule, self.stay, self.kind, version, self.description, by="settings")


class ClusterSettings(Section):
    """What people are clustered by, and into how many clusters (`training.clusters`). Refitted whenever models are, and
    by `everfold segments fit`."""

    enabled: bool = True
    k_min: Annotated[int, Field(ge=2, le=CLUSTERS_MAX)] = K_MIN
    k_max: Annotated[int, Field(ge=2, le=CLUSTERS_MAX)] = K_MAX
    features: tuple[str, ...] | None = None
    """Expressions of the segments' language; left out: `training.cluster_features.BEHAVIOUR`."""
    traits: tuple[str, ...] | None = None
    """Traits that may decide; left out: those most people have. An empty list: behaviour alone."""
    seed: Annotated[int, Field(ge=0)] = 1

    @field_validator("features")
    @classmethod
    def _understood(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return given if given is None else tuple(measure.value for measure in measures_of(given))
        except (BadRequest, BadSettings) as wrong:
            raise ValueError(str(wrong)) from None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.k_min > self.k_max:
            raise ValueError(f"k_min is {self.k_min}, k_max {self.k_max}: the first may not be more than the second")
        return self


class Settings(Section):
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    consent: ConsentSettings = ConsentSettings()
    recommend: RecommendSettings = RecommendSettings()
    learning: LearningSettings = LearningSettings()
    sessions: SessionSettings = SessionSettings()
    alerts: AlertsSettings = AlertsSettings()
    retrain: RetrainSettings = RetrainSettings()
    clusters: ClusterSettings = ClusterSettings()
    segments: tuple[SegmentEntry, ...] = ()
    segments_shipped: bool = True
    """Whether the store has the segments of `actors.segment_shipped`; single ones are left out by an entry with
    ``enabled = false``, and changed by one with a rule."""
    content_alerts: ContentAlertSettings = ContentAlertSettings()
    webhooks: dict[Annotated[str, Field(pattern="^[a-z0-9_-]{1,64}$")], WebhookSettings] = {}
    """By a name of your own: ``[webhooks.crm]``. It keeps its place in the log under that name."""
    surfaces: dict[str, Surface] = {}
    """Surfaces of your own, or other rules for those there are: ``[surfaces.checkout]``."""

    vocabulary: dict[str, dict[str, object]] = {}
    """What event names of your own mean: ``[vocabulary."Album Bought"]`` with kind, signal, weight and items."""

    def event_vocabulary(self) -> Vocabulary:
        return Vocabulary(read_table(self.vocabulary))

    def intake(self) -> IntakeSettings:
        return IntakeSettings(body_bytes_max=self.server.body_bytes_max, default_consent=self.consent.default)

    def all_surfaces(self) -> dict[str, Surface]:
        """Those every service has, and yours."""
        return {**SURFACES, **self.surfaces}

    def check_weights(self) -> None:
        """Here and not when answers are made: a service that cannot start should say so where it is started. Raises
        `BadSettings`."""
        for surface in self.surfaces.values():
            for name in surface.weights:
                if name not in INVENTORY:
                    where = f"surfaces.{surface.name}.weights.{name}"
                    raise BadSettings(f"setting `{where}` names no recommender" + did_you_mean(name, tuple(INVENTORY)))

    def check_segments(self) -> None:
        """Raises `BadSettings` for one that makes no sense by itself or beside the others here. One it asks about may
        come from elsewhere."""
        known = Definitions()
        for entry in self.segments:
            if entry.name in known.by_name:
                raise BadSettings(f"setting `segments`: there are two of the name {entry.name}")
            try:
                known = known.defined(understood(entry.told(1))) if entry.enabled else known
            except BadRequest as wrong:
                where = "" if isinstance(wrong, BadDefinition) else f".{entry.name[:64]}"
                raise BadSettings(f"setting `segments{where}`: {wrong}") from None

    @model_validator(mode="before")
    @classmethod
    def _surface_names(cls, given: dict[str, object]) -> dict[str, object]:
        """A surface's name is the name of its section."""
        surfaces = given.get("surfaces")
        if not isinstance(surfaces, dict):
            return given
        for name, surface in surfaces.items():
            if isinstance(surface, dict) and surface.get("name", name) != name:
                raise ValueError(f"[surfaces.{name}] calls itself {surface['name']!r}: its section is its name")
        named = {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in surfaces.items()}
        return {**given, "surfaces": named}

    @classmethod
    def load(cls, data: Path, environ: Mapping[str, str]) -> Settings:
        """The settings of the store in ``data``. Raises `BadSettings`."""
        path = data / FILE
        return cls.read(path, environ) if path.exists() else cls.of({}, environ)

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str]) -> Settings:
        """The settings in one file. Raises `BadSettings`, also where there is no such file."""
        try:
            given: dict[str, object] = tomllib.loads(path.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadSettings(f"{path} is not readable TOML: {error}") from error
        return cls.of(given, environ)

    @classmethod
    def of(cls, given: dict[str, object], environ: Mapping[str, str]) -> Settings:
        """These settings and what the environment says. Raises `BadSettings`."""
        _overlay(given, environ)
        try:
            settings = cls.model_validate(given)
            settings.event_vocabulary()
            settings.check_weights()
            settings.check_segments()
            return settings
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            first = next((one for one in wrong if one["type"] == "extra_forbidden"), wrong[0])
            if first["type"] == "extra_forbidden":
                raise BadSettings(_unknown(first["loc"])) from error
            where = ".".join(str(part) for part in first["loc"])
            if first["type"] == "tuple_type" and where == "segments":
                raise BadSettings("setting `segments` is a list: write `[[segments]]`, with two brackets") from error
            raise BadSettings(f"setting `{where}`: {first['msg']}") from error


def _unknown(loc: tuple[int | str, ...]) -> str:
    """The message about a key nobody knows; a top-level one is often a section's key that lost its section."""
    name = str(loc[-1])
    text = f"unknown setting `{'.'.join(map(str, loc))}`"
    if len(loc) == 1:
        words = set(name.split("_"))
        for section, kind in _SECTIONS.items():
            for key in kind.model_fields:
                if name == key or words == {section, *key.split("_")}:
                    return f"{text}: did you mean `{section}.{key}`?"
    return text + did_you_mean(name, _names_beside(loc))


def _names_beside(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    if len(loc) == 1:
        return tuple(Settings.model_fields)
    if loc[0] == "webhooks":
        return tuple(WebhookSettings.model_fields)
    if loc[0] == "segments":
        return tuple(SegmentEntry.model_fields)
    if loc[0] in _SECTIONS:
        return tuple((_SECTIONS[str(loc[0])] if len(loc) == 2 else GatePolicy).model_fields)
    return tuple(Surface.model_fields if len(loc) == 3 else Values.model_fields)


_SECTIONS: Mapping[str, type[Section]] = {
    "server": ServerSettings,
    "store": StoreSettings,
    "consent": ConsentSettings,
    "recommend": RecommendSettings,
    "learning": LearningSettings,
    "sessions": SessionSettings,
    "alerts": AlertsSettings,
    "retrain": RetrainSettings,
    "clusters": ClusterSettings,
    "content_alerts": ContentAlertSettings,
}


def _overlay(given: dict[str, object], environ: Mapping[str, str]) -> None:
    """Sections, and webhooks that the file names: their secrets need not stand in it."""
    sections: dict[tuple[str, ...], type[Section]] = {(name,): kind for name, kind in _SECTIONS.items()}
    hooks = given.get("webhooks")
    sections |= {("webhooks", name): WebhookSettings for name in (hooks if isinstance(hooks, dict) else ())}
    valid = {
        (PREFIX + "__".join((*path, key)).replace("-", "_")).upper(): (path, key)
        for path, kind in sections.items()
        for key in kind.model_fields
    }
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in RESERVED:
            continue
        if name not in valid:
            raise BadSettings(f"environment: unknown setting {name}" + did_you_mean(name, tuple(valid)))
        path, key = valid[name]
        values: object = given
        for part in path:
            values = values.setdefault(part, {}) if isinstance(values, dict) else None
        if isinstance(values, dict):
            values[key] = environ[name]
