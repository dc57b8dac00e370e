"""The application, wired: everything the routes stand on comes in, an ASGI object comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.item_view import ItemSource
from events.catalogue_intake import CatalogueIntake
from events.clock import Clock
from events.import_intake import ImportIntake
from events.intake import Intake
from serving.access import Doors
from serving.asgi import App
from serving.backend import Backend
from serving.catalogue_lookup import CatalogueLookup
from serving.collector import Collector
from serving.decisions import Decisions
from serving.health import Health
from serving.imports import Imports
from serving.items import Items
from serving.keys import Keys
from serving.logs import Log
from serving.metrics import Numbers
from serving.models import Models
from serving.openapi import Docs
from serving.profile_segments import ProfileSegments
from serving.profiles import Profiles
from serving.recommend import Answerer
from serving.recommendations import Recommendations, Sources
from serving.segment_door import SegmentDoor
from serving.segment_members import SegmentMembers
from serving.segment_people import Aside
from serving.segment_preview import Sampler, SegmentPreview
from serving.segment_stream import SegmentStream, Tail
from serving.segments import Segments
from serving.settings import Settings
from serving.shop import Shop
from serving.waiting import Waiting
from serving.writing import Writing
from training.registry import Registry


@dataclass(frozen=True)
class Deps:
    """What an application stands on. ``event_id_secret`` is `Secrets.event_id`. ``people`` may be busy for
    half a second with one question; ``figures`` is asked only what is counted already. ``numbers_folder`` is where all
    processes of the service publish their numbers (``DIR/run/metrics``); None: there is only this one. ``demo`` opens
    the page to anyone on the machine and must be set only for a service bound to loopback."""

    settings: Settings
    keys: Keys
    event_id_secret: bytes
    models: Registry
    backend: Backend
    items: ItemSource
    answerer: Answerer
    decisions: Decisions
    tail: Tail
    people: Aside
    figures: Aside
    clock: Clock
    log: Log
    numbers: Numbers
    numbers_folder: Path | None = None
    demo: bool = False


def build_app(deps: Deps) -> App:
    """The ASGI application over ``deps``."""
    doors = Doors(deps.keys, deps.clock)
    server = deps.settings.server
    writing = Writing(deps.backend, server, deps.clock, deps.numbers)
    waiting = Waiting(deps.backend, server.after_wait_ms)
    catalogue = CatalogueLookup(deps.items, deps.clock)
    secret, limits, vocabulary = deps.event_id_secret, deps.settings.intake(), deps.settings.event_vocabulary()
    intake = Intake(secret, limits, vocabulary, catalogue.enrich, catalogue.rank)
    imports = ImportIntake(secret, limits, vocabulary, catalogue.enrich)
    upserts = CatalogueIntake(secret, catalogue.current)
    body_max = server.body_bytes_max
    door = SegmentDoor(deps.backend, writing, deps.clock, secret)
    sources = Sources(deps.answerer, deps.decisions, deps.items, deps.backend)
    routes = (
        *Collector(intake, writing, doors, deps.keys, deps.clock, body_max).routes(),
        *Recommendations(sources, waiting, deps.clock, deps.numbers).routes(),
        *Profiles(deps.backend, deps.items, waiting, deps.clock, deps.settings.sessions.policy()).routes(),
        *Items(upserts, deps.items, writing, waiting, deps.clock, body_max).routes(),
        *Imports(imports, writing, deps.backend, deps.clock, body_max).routes(),
        *Models(deps.models, deps.backend, writing, deps.clock, secret).routes(),
        *ProfileSegments(deps.backend, waiting, deps.clock).routes(),
        *SegmentPreview(door, Sampler(deps.people), waiting, deps.clock).routes(),
        *SegmentMembers(door, deps.people, waiting, deps.clock).routes(),
        *SegmentStream(deps.tail, deps.clock).routes(),
        *Segments(door, deps.figures, waiting, deps.clock).routes(),
        *Health(deps.backend, deps.numbers, deps.numbers_folder).routes(),
    )
    docs = Docs(routes, doors, demo=deps.demo)
    shop = Shop(doors, deps.keys.write_key, deps.clock, demo=deps.demo)
    log_all = server.log_requests == "all"
    return App((*routes, *docs.routes(), *shop.routes()), doors, deps.numbers, deps.log, log_all=log_all)
