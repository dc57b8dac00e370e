"""The world: people who come, look, click, buy, tire, leave and return, over time that only moves forward.

    world = World(CALIBRATED, seed=1)
    for visit in world.visits(start, end):          # in the order of time
        outcome = world.answer(visit, slate)        # what they do with a list
        organic = world.organic(visit)              # what they do anyhow

What is sent to a service is made of visits and what came of them by `simulate.payloads`, and holds nothing but what a
client can see. What is true (likes, oracle, regret) is asked of `simulate.truth.Truth`, which nobody gives to a
service. The same spec, seed and slates give the same acts; luck does not depend on what is shown (`simulate.chance`).
Asked about things out of order (an answer to a visit of yesterday), the world answers as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, pi
from typing import Literal

import numpy as np

from simulate.attention import clicked
from simulate.chance import Floats, gumbels, key_of, mixed, normal, normals, uniform, uniforms
from simulate.drift_script import Drift, Script
from simulate.shelf import Shelf
from simulate.shopper import NEVER, Mood, People, hour_of_week, turned
from simulate.world_spec import DAY_MS, HOUR_MS, WEEK_MS, WorldSpec

Surface = Literal["home", "product", "cart", "discover"]
Deed = Literal["view", "click", "cart", "purchase"]

_NOWHERE = -60.0
"""Log-odds of what is not on the shelf."""
_LIKES_KEPT = 4_096
_PAGES_MAX, _PAGE_SIGMA, _PAGE_MINUTES_MAX = 10, 0.7, 6.0
"""Ten pages of at most six minutes: a session is over within the hour after the one it began in."""
_COUNT, _PLACE, _INTENT, _DEVICE, _SECOND, _CART, _BUY, _DELAY = range(101, 109)
_LEAVE, _AWAY, _VIEWS, _ORDER, _PICK, _OWN, _SWAP, _PAGES = range(109, 117)


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody comes at a moment, to a place. ``person`` is for the world alone."""

    key: int
    """Of this visit, 64 bits; two policies meet the same visits under the same keys."""
    session: int
    """Of the session it belongs to."""
    page: int
    """From 0."""
    last: bool
    """Whether the session ends with it."""
    person: int
    at: int
    """ms."""
    device: int
    user_id: str
    """Empty while anonymous."""
    anonymous_id: str
    logs_in: bool
    """This is the page they log in at, on this device: identify first."""
    surface: Surface
    items: tuple[str, ...]
    """What the page is about."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing somebody does ``delay`` ms after the visit began. ``slot`` from 1; 0: not from a list."""

    deed: Deed
    item: str
    delay: int
    slot: int = 0
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a list. ``seen``: slots that came into view, from the top."""

    slate: tuple[str, ...]
    seen: int
    acts: tuple[Act, ...]
    """In the order of time."""

    @property
    def clicks(self) -> int:
        return sum(act.deed == "click" for act in self.acts)


@dataclass(frozen=True, slots=True)
class Organic:
    """What somebody does without a list: looks, and an order (its items, all at once), or none."""

    views: tuple[Act, ...] = ()
    order: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class _Session:
    key: int
    person: int
    pages: list[int]
    """When each is looked at."""


class World:
    """See the module. ``share`` (k, n): only every n-th person from the k-th comes, for n worlds of the same spec and
    seed in as many processes."""

    def __init__(self, spec: WorldSpec, seed: int, script: Script = (), share: tuple[int, int] = (0, 1)) -> None:
        self.spec, self.seed = spec, seed
        self.shelf = Shelf.of(spec, seed)
        self.people = People.of(spec, self.shelf, seed)
        self.drift = Drift(script, spec.start_ms)
        self._visit_key = key_of(seed, "visit")
        self._away = np.zeros(spec.people, np.int64)
        """Until when; a moment beyond the world's end: for good."""
        ours = np.arange(spec.people) % share[1] == share[0]
        self._away[~ours] = 1 << 62
        self._moods: dict[int, Mood] = {}
        self._own: dict[int, Floats] = {}
        self._felt: tuple[int, int, Floats] = (0, -1, np.empty(0))

    def visits(self, start: int, end: int) -> Iterator[Visit]:
        """Those who come at ``start`` <= time < ``end``, in the order of time. Who leaves meanwhile does not come."""
        origin, waiting = self.spec.start_ms, list[tuple[int, int, int, _Session]]()
        for hour in range((start - origin) // HOUR_MS - 1, -((origin - end) // HOUR_MS)):
            for session in self._sessions(hour):
                for page, at in enumerate(session.pages):
                    waiting.append((at, session.person, page, session))
            later = origin + (hour + 1) * HOUR_MS
            due = sorted((one for one in waiting if one[0] < later), key=lambda one: one[:3])
            waiting = [one for one in waiting if one[0] >= later]
            for at, person, page, session in due:
                if start <= at < end and self._away[person] <= at:
                    yield self._visit(session, page)

    def answer(self, visit: Visit, slate: Sequence[str]) -> Outcome:
        """What the visitor does with this list, and what it does to the visitor. Items of elsewhere are not liked."""
        numbers = np.array([self.shelf.numbers.get(item, -1) for item in slate], np.int64)
        likes = np.where(numbers >= 0, self.likes(visit)[numbers], 0.0)
        seen, slots = clicked(self.spec, likes, visit.key, self.shelf.words[numbers])
        acts: list[Act] = []
        for slot in slots:
            if numbers[slot] >= 0:
                acts += self._funnel(visit, int(numbers[slot]), slot + 1, float(likes[slot]), "click")
        mood = self.mood(visit.person)
        mood.show(numbers[:seen][numbers[:seen] >= 0], visit.at)
        self._felt_by(visit, acts)
        mood.please(sum(act.deed == "click" for act in acts))
        self._leaves(visit, mood)
        return Outcome(tuple(slate), seen, tuple(sorted(acts, key=lambda act: (act.delay, act.slot))))

    def organic(self, visit: Visit) -> Organic:
        """What the visitor does beside the list."""
        spec = self.spec
        views = int(log(uniform(visit.key, _VIEWS)) / log(spec.organic_views / (1 + spec.organic_views)))
        orders = visit.last and uniform(visit.session, _ORDER) < spec.order_share
        lines = 0
        if orders:
            wanted = spec.basket_median * exp(spec.basket_sigma * normal(visit.key, _ORDER, 1))
            lines = max(1, min(round(wanted), spec.basket_max))
        if not views + lines:
            return Organic()
        chosen = self._taken(visit, min(views + lines, spec.items)).tolist()
        looked = [
            Act("view", self.shelf.ids[item], 1000 * (5 + 20 * (place + 1)))
            for place, item in enumerate(chosen[lines:])
        ]
        delay = 1000 * (60 + 20 * len(looked))
        order = [Act("purchase", self.shelf.ids[item], delay) for item in sorted(chosen[:lines])]
        mood = self.mood(visit.person)
        for item in chosen[lines:]:
            mood.view(item)
        for item in chosen[:lines]:
            mood.bought[item] = visit.at + delay
        self._felt = (0, -1, self._felt[2])
        return Organic(tuple(looked), tuple(order))

    def mood(self, person: int) -> Mood:
        """What this person carries; made when they first come."""
        found = self._moods.get(person)
        if found is None:
            found = self._moods[person] = Mood(np.zeros(self.spec.categories))
        return found

    def intent(self, visit: Visit) -> int:
        """Which of the person's tastes this session has."""
        luck = uniform(visit.session, _INTENT)
        return min(int(np.searchsorted(self.people.mixture[visit.person], luck)), self.spec.tastes - 1)

    def taste(self, visit: Visit) -> Floats:
        """The taste of this visit as it is now, a unit vector."""
        people, person = self.people, visit.person
        weeks = (visit.at - self.spec.start_ms) / WEEK_MS
        own = turned(people.tastes[person, self.intent(visit)].astype(np.float64), float(people.turn[person]) * weeks)
        return self.drift.taste(own, int(people.segment[person]), uniform(int(people.words[person]), _SWAP), visit.at)

    def utilities(self, visit: Visit) -> Floats:
        """Log-odds of liking, by item, at this moment."""
        if self._felt[0] == visit.key and self._felt[1] == visit.at:
            return self._felt[2]
        spec, shelf = self.spec, self.shelf
        utility: Floats = self._always(visit) + spec.affinity * spec.dims**0.5 * (shelf.vectors @ self.taste(visit))
        utility += self.season(visit)
        utility -= self.mood(visit.person).weariness(spec, shelf, visit.at)
        if visit.items:
            about = shelf.vectors[[shelf.numbers[item] for item in visit.items]].mean(axis=0)
            utility += spec.context_pull * (shelf.vectors @ about)
            utility[[shelf.numbers[item] for item in visit.items]] = _NOWHERE
        wanted = self.drift.wanted(visit.at, shelf.category)
        if wanted is not None:
            utility += wanted
        utility[~shelf.alive(visit.at)] = _NOWHERE
        self._felt = (visit.key, visit.at, utility)
        return utility

    def season(self, visit: Visit) -> Floats:
        """What the hour adds to log-odds, by item."""
        hour = (visit.at // HOUR_MS) % 24
        swing: Floats = self.spec.season * np.cos(2 * pi * (hour - self.shelf.peaks) / 24)
        return swing[self.shelf.category]

    def share_moods(self, other: World) -> None:
        """Be the same people as in another world of this spec and seed: for asking what they would like, had nothing
        changed."""
        self._moods = other._moods

    def likes(self, visit: Visit) -> Floats:
        """Chance to like each item, were it looked at."""
        chance: Floats = 1.0 / (1.0 + np.exp(-self.utilities(visit)))
        return chance

    def whims(self, visit: Visit) -> Floats:
        """What this person likes about each item for no reason anybody else shares, in log-odds."""
        word = int(self.people.words[visit.person])
        key = mixed(word, _OWN, _SWAP) if self._swapped(visit) else mixed(word, _OWN)
        own: Floats = self.spec.idiosyncrasy * normals(key, self.shelf.words)
        return own

    def _swapped(self, visit: Visit) -> bool:
        luck = uniform(int(self.people.words[visit.person]), _SWAP)
        return self.drift.swapped(int(self.people.segment[visit.person]), luck, visit.at)

    def _always(self, visit: Visit) -> Floats:
        """The part of a person's utilities that never changes but by a swap. Kept for those who come often."""
        person = 2 * visit.person + self._swapped(visit)
        found = self._own.get(person)
        if found is None:
            spec, shelf = self.spec, self.shelf
            thrift = float(self.people.thrift[visit.person])
            found = spec.base + shelf.quality + self.whims(visit) - thrift * shelf.dearness
            if len(self._own) >= _LIKES_KEPT:
                del self._own[next(iter(self._own))]
            self._own[person] = found
        return found

    def _sessions(self, hour: int) -> list[_Session]:
        """The sessions that begin in this hour, had nobody left: Poisson by inversion, so that everybody's luck is
        their own."""
        people, at = self.people, self.spec.start_ms + hour * HOUR_MS
        mean = people.rate * (self.spec.hours[hour_of_week(at)] * self.drift.traffic(hour, people.segment))
        mean = np.where((people.born <= at) & (self._away < at + HOUR_MS), mean, 0.0)
        luck = uniforms(mixed(self._visit_key, _COUNT, hour), people.words)
        chance = np.exp(-mean)
        some = np.flatnonzero(luck > chance)
        found: list[_Session] = []
        for person, share, expected, threshold in zip(
            some.tolist(), luck[some].tolist(), mean[some].tolist(), chance[some].tolist(), strict=True
        ):
            below, number = threshold, 0
            while share > below and number < 20:
                key = mixed(self._visit_key, person, hour, number)
                found.append(_Session(key, person, self._pages(key, at)))
                number += 1
                threshold *= expected / number
                below += threshold
        return found

    def _pages(self, session: int, hour: int) -> list[int]:
        """When the pages of a session that begins in this hour (ms) are looked at."""
        spec = self.spec
        at = hour + int(uniform(session, _PLACE) * HOUR_MS)
        more = int(log(uniform(session, _PAGES)) / log(1 - 1 / spec.pages)) if spec.pages > 1 else 0
        pages = [at]
        for page in range(1, min(1 + more, _PAGES_MAX)):
            minutes = min(spec.page_minutes * exp(_PAGE_SIGMA * normal(session, _PAGES, page)), _PAGE_MINUTES_MAX)
            pages.append(pages[-1] + round(60_000 * minutes))
        return pages

    def _visit(self, session: _Session, page: int) -> Visit:
        key, person, at = mixed(session.key, page), session.person, session.pages[page]
        mood, people = self.mood(person), self.people
        device = int(session.pages[0] >= people.second_from[person] and uniform(session.key, _SECOND) < 0.5)
        mood.sessions[device] += page == 0
        login = int(people.login_visit[person])
        login = login if device == 0 or login == NEVER else 2
        surface, items = self._place(key, mood)
        return Visit(
            key=key,
            session=session.key,
            page=page,
            last=page == len(session.pages) - 1,
            person=person,
            at=at,
            device=device,
            user_id=f"user-{person}" if mood.sessions[device] >= login else "",
            anonymous_id=f"anon-{mixed(self._visit_key, _DEVICE, person, device):016x}",
            logs_in=page == 0 and mood.sessions[device] == login,
            surface=surface,
            items=items,
        )

    def _place(self, key: int, mood: Mood) -> tuple[Surface, tuple[str, ...]]:
        """The page, and what it is about: who never looked at anything is at home."""
        shares, luck = self.spec.surfaces, uniform(key, _PLACE)
        if luck < shares.home or not mood.viewed:
            return "home", ()
        if luck < shares.home + shares.product:
            return "product", (self.shelf.ids[mood.viewed[-1]],)
        if luck < shares.home + shares.product + shares.cart:
            return "cart", tuple(self.shelf.ids[item] for item in dict.fromkeys(mood.viewed[-2:]))
        return "discover", ()

    def _funnel(self, visit: Visit, item: int, slot: int, like: float, first: Deed) -> list[Act]:
        """A click, and how far it goes."""
        spec, word = self.spec, int(self.shelf.words[item])
        identity = self.shelf.ids[item]
        luck = [normal(visit.key, _DELAY, word, step) for step in range(3)]
        delay = 1000 + round(1000 * spec.click_seconds * exp(spec.delay_sigma * luck[0]))
        acts = [Act(first, identity, delay, slot)]
        cart = 1 / (1 + exp(-(spec.cart_base + spec.cart_gain * log(like / (1 - like)))))
        if uniform(visit.key, _CART, word) >= cart:
            return acts
        delay += round(1000 * spec.cart_seconds * exp(spec.delay_sigma * luck[1]))
        acts.append(Act("cart", identity, delay, slot))
        if uniform(visit.key, _BUY, word) >= spec.bought:
            return acts
        delay += round(60_000 * spec.buy_minutes * exp(spec.delay_sigma * luck[2]))
        acts.append(Act("purchase", identity, delay, slot))
        return acts

    def _felt_by(self, visit: Visit, acts: Sequence[Act]) -> None:
        """What acts do to the one who acts."""
        mood = self.mood(visit.person)
        mood.decay(visit.at)
        for act in acts:
            item = self.shelf.numbers[act.item]
            if act.deed == "click":
                mood.bored[self.shelf.category[item]] += 1.0
                mood.seen.pop(item, None)
                mood.view(item)
            elif act.deed == "purchase":
                mood.bought[item] = visit.at + act.delay
        self._felt = (0, -1, self._felt[2])

    def _leaves(self, visit: Visit, mood: Mood) -> None:
        """Whoever is less content stays away sooner, and longer."""
        spec = self.spec
        if uniform(visit.key, _LEAVE) >= spec.leave * 0.5 ** (10 * mood.satisfaction):
            return
        gone = uniform(visit.key, _AWAY) < spec.churn
        weeks = -spec.away_weeks * log(uniform(visit.key, _AWAY, 1)) * 0.5**mood.satisfaction
        self._away[visit.person] = 1 << 62 if gone else visit.at + round(weeks * 7 * DAY_MS)

    def _taken(self, visit: Visit, count: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Items by weight, without replacement, in the order drawn."""
        level = self.utilities(visit) / self.spec.organic_heat + self.shelf.appeal
        level = level + gumbels(mixed(visit.key, _PICK), self.shelf.words)
        best = np.argpartition(level, len(level) - count)[len(level) - count :]
        return best[np.argsort(-level[best], kind="stable")]
