"""``everfold what-if`` over a log whose truth is known: a small shop of people who click by a rule we made."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from io import StringIO
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from service import Service, viewed

from actors.item_reader import LocalItems
from actors.reader import LocalProfiles
from actors.store import Store
from events.clock import ManualClock, SystemClock
from events.errors import BadRequest, BadSettings
from events.ids import Micros, user_key
from serving.answer import RecommendRequest
from serving.asked import ask
from serving.decision_period import Period, open_period
from serving.recommend import Answerer, AnswerRules
from serving.settings import Settings
from serving.slate import propensities, sampling_of
from serving.what_if import ALL_TYPES, Asking, what_if
from serving.what_if_command import Supposing, suppose
from serving.what_if_model import ModelTrial, model_evidence
from serving.what_if_replay import Past
from serving.what_if_target import aim, asked_again
from training.model import Model
from training.ope.estimators import ESTIMATORS
from training.ope.evaluation import HEADLINE

ITEMS = [f"item-{number}" for number in range(6)]
LIKED = dict(zip(ITEMS, (0.02, 0.04, 0.06, 0.1, 0.5, 0.9), strict=True))
PEOPLE = 600
HOUR_US = 3_600_000_000
START = Micros(1_767_571_200_000_000)
"""2026-01-05T00:00:00Z."""
NOW = Micros(START + HOUR_US)
SLOTS = 3
EMPTY = 1
"""Answers without any item."""
TEST = 1
"""Answers marked as test traffic."""

LOGGED = """
segments_shipped = false

[surfaces.home]
weights = { newest = 1.0, popularity = 0.2 }
tau = 2.0
values = { click = 1.0, cart = 0.0, purchase = 0.0 }
"""
TRIED = LOGGED.replace("popularity = 0.2", "popularity = 4.0").replace("tau = 2.0", "tau = 0.8")
STILL = LOGGED.replace("tau = 2.0", "tau = 0.0")


def look(rng: np.random.Generator) -> int:
    """The item somebody looks at first: what is liked is also popular."""
    return int(np.searchsorted(np.cumsum(list(LIKED.values())), rng.random() * sum(LIKED.values())))


def chance(item: str, slot: int, above: float) -> float:
    """Of a click: less further down, and less the more of what is liked stood above."""
    return LIKED[item] / (1 + 0.3 * slot) / (1 + above)


def answerer(data: Path, config: Path) -> tuple[Answerer, LocalItems]:
    settings, items = Settings.read(config, {}), LocalItems(data)
    return Answerer(items, None, SystemClock(), AnswerRules(surfaces=settings.all_surfaces())), items


def truth(data: Path, config: Path) -> float:
    """What the configuration earns per answer, counted out over all 120 lists: of one person for every first look."""
    ranks, items = answerer(data, config)
    surface = Settings.read(config, {}).all_surfaces()["home"]
    profiles = LocalProfiles(Store.open(data))
    rng = np.random.default_rng(1)
    firsts: dict[int, list[int]] = {}
    for number in range(PEOPLE):
        firsts.setdefault(look(rng), []).append(number)
    view, total = items.snapshot(), 0.0
    for people in firsts.values():
        key = user_key(f"p{people[0]}")
        request = RecommendRequest(user_id=key[2:], n=SLOTS)
        asked = ask(request, profiles.glance(key).profile, Micros(START + HOUR_US // 600), {"home": surface}, True)
        ranking = ranks.ranked(asked, view)
        names = [view.ids[idx] for idx in ranking.blended.candidates.idx[ranking.columns].tolist()]
        assert sorted(names) == ITEMS
        for columns in permutations(range(len(names)), SLOTS):
            weight, above = 1.0, 0.0
            for slot, (column, share) in enumerate(
                zip(columns, propensities(ranking.shortlist, sampling_of(surface), columns), strict=True)
            ):
                weight *= share
                below = np.prod([len(names) - left for left in range(slot + 1, SLOTS)])
                total += weight * chance(names[column], slot, above) / float(below) * len(people) / PEOPLE
                above += LIKED[names[column]]
    profiles.close()
    items.close()
    return total


@dataclass
class Shop:
    data: Path
    tried: Path
    truth: float
    """What ``tried`` would have earned per answer."""


def live_through(service: Service, tried: Path) -> float:
    """Everybody looks at something, is answered, sees all of it, and clicks by the rule. The truth about ``tried`` is
    counted out before the first click is told: clicks move popularity."""
    rng = np.random.default_rng(1)
    looked = {f"p{number}": ITEMS[look(rng)] for number in range(PEOPLE)}
    looks = [viewed(user, item) for user, item in looked.items()]
    for start in range(0, len(looks), 300):
        service.send(*looks[start : start + 300])
    service.settle()
    events: list[dict[str, object]] = []
    for user in looked:
        answer = service.get(f"/v1/recommend?user_id={user}&n={SLOTS}").json
        shown = [item["item_id"] for item in answer["items"]]  # type: ignore[attr-defined]
        about: dict[str, object] = {"list_id": answer["recommendation_id"]}
        seen = {"event": "Product List Viewed", "properties": {**about, "products": [{"product_id": i} for i in shown]}}
        events.append({"type": "track", "userId": user, **seen})
        above = 0.0
        for slot, item in enumerate(shown):
            if rng.random() < chance(item, slot, above):
                click = {"event": "Product Clicked", "properties": {**about, "product_id": item}}
                events.append({"type": "track", "userId": user, **click})
            above += LIKED[item]
    nothing = service.get("/v1/recommend?user_id=p0&category=Nowhere").json
    assert nothing["items"] == []
    assert nothing["logged"]
    assert service.call("POST", "/v1/recommend", {"user_id": "p1", "n": SLOTS, "test": True}).status == 200
    expected = truth(service.data, tried)
    for start in range(0, len(events), 400):
        service.send(*events[start : start + 400])
    return expected


class Since:
    """Time goes on from a fixed start, so that the noise is the same in every run: an estimate's doubt is no excuse for
    a test that fails once in three hundred."""

    def __init__(self, start: Micros) -> None:
        self._start, self._began = start, SystemClock().now()

    def now(self) -> Micros:
        return Micros(self._start + SystemClock().now() - self._began)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("what-if")
    data, tried = folder / "data", folder / "new.toml"
    data.mkdir()
    (data / "everfold.toml").write_text(LOGGED)
    (data / "master.key").write_bytes(bytes(range(32)))
    (data / "master.key").chmod(0o600)
    tried.write_text(TRIED)
    with Service(data, Settings.load(data, {}), clock=Since(START)) as service:
        for item in ITEMS:  # one after the other: the newest are not all of one moment
            service.add_items({"item_id": item, "title": item})
        expected = live_through(service, tried)
    return Shop(data, tried, expected)


def command(shop: Shop, config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    said = ["--since", "2026-01-05", "--data", str(shop.data), "--config", str(config), *more]
    return subprocess.run([sys.executable, "-m", "serving.cli", "what-if", *said], capture_output=True, text=True)


def test_the_estimate_is_the_truth_within_its_doubt(shop: Shop) -> None:
    """Five standard errors: a right estimate is further off once in two million runs. What was earned is further off
    than that, so weights that do nothing are noticed."""
    surfaces = {"home": Settings.read(shop.tried, {}).all_surfaces()["home"]}
    ranks, items = answerer(shop.data, shop.tried)
    now = NOW
    with open_period(shop.data) as reading:
        (judged,) = what_if(reading, Period(Micros(now - HOUR_US), now), now, Asking(surfaces, ranks.ranked))
    items.close()
    found, expected = judged.evaluation, shop.truth
    assert found.refusals == ()
    assert (judged.lists, judged.seen, judged.lost) == (PEOPLE + EMPTY + TEST, PEOPLE, 0)
    assert (found.slates, found.people, found.left.test, found.depth) == (PEOPLE + EMPTY, PEOPLE, TEST, SLOTS)
    assert found.baseline is not None
    for key in (HEADLINE, ("cascade", "dr"), ("cascade", "snips"), ("cascade", "ips"), ("slate", "snips")):
        value = found.estimates[key].value  # type: ignore[index]
        assert abs(value.value - expected) < 5 * (value.high - value.low) / 3.92, (key, value, expected)
    headline = found.estimates[HEADLINE].value
    assert abs(found.baseline.value - expected) > 5 * (headline.high - headline.low) / 3.92, (found.baseline, expected)


def test_the_past_is_what_was_known_then_to_the_record(shop: Shop) -> None:
    """Under the rules that were logged, the gains come out as they were logged, and with them every propensity."""
    surfaces = Settings.load(shop.data, {}).all_surfaces()
    ranks, items = answerer(shop.data, shop.data / "everfold.toml")
    now = NOW
    period = Period(Micros(now - HOUR_US), now)
    with open_period(shop.data) as reading:
        decisions = list(reading.decisions(period))
        past = Past(reading.facts(0, now, ALL_TYPES), {one.subject for one in decisions})
        for answered in decisions[::50]:
            moment, decision = past.at(answered), answered.decision
            assert moment is not None
            assert moment.profile is not None
            assert moment.profile.version == decision.versions.profile == 1
            asked = asked_again(answered, moment.profile, surfaces["home"], moment.items)
            found = aim(decision, ranks.ranked(asked, moment.items), slots_max=12)
            assert found.propensity == pytest.approx([one.propensity for one in decision.slate], rel=1e-4)
            assert found.unsupported == pytest.approx(0.0)
    items.close()


def test_nothing_from_after_a_decision_is_known_at_it(shop: Shop) -> None:
    """The shop's clicks came after all answers: popularity at the last of them is what looks alone made it."""
    now = NOW
    with open_period(shop.data) as reading:
        decisions = list(reading.decisions(Period(Micros(now - HOUR_US), now)))
        past = Past(reading.facts(0, now, ALL_TYPES), {decisions[-1].subject})
        moment = past.at(decisions[-1])
    assert moment is not None
    items = LocalItems(shop.data)
    _, then = moment.items.popular(None, 10)
    _, today = items.snapshot().popular(None, 10)
    items.close()
    assert today.sum() > 1.2 * then.sum()


def test_a_model_that_changes_nothing_is_worth_about_what_was_earned(shop: Shop) -> None:
    """The gate's evidence: a model without tables under the rules that were logged is the policy that logged."""
    now = NOW
    trial = ModelTrial(
        shop.data,
        Settings.load(shop.data, {}),
        Model("m", tuple(ITEMS), {}),
        "home",
        Period(Micros(now - HOUR_US), now),
        now,
    )
    found = model_evidence(trial)
    assert found is not None
    assert abs(found.difference.value) < 5 * (found.difference.high - found.difference.low) / 3.92
    assert found.effective == pytest.approx(PEOPLE, rel=1e-3)
    assert found.champion > 0.3
    assert model_evidence(replace(trial, period=Period(Micros(now - 2), Micros(now - 1)))) is None


def test_of_too_many_lists_people_are_left_out_whole(shop: Shop) -> None:
    surfaces = {"home": Settings.read(shop.tried, {}).all_surfaces()["home"]}
    ranks, items = answerer(shop.data, shop.tried)
    now = NOW
    asking = Asking(surfaces, ranks.ranked, lists_max=PEOPLE // 2)
    with open_period(shop.data) as reading:
        (judged,) = what_if(reading, Period(Micros(now - HOUR_US), now), now, asking)
    items.close()
    assert judged.share == pytest.approx(0.5, abs=0.01)
    assert 0.35 * PEOPLE < judged.lists < 0.65 * PEOPLE
    assert judged.lists - EMPTY - TEST <= judged.evaluation.people <= judged.lists


def test_the_command_prints_the_lift_with_its_interval_and_everyones_list(shop: Shop) -> None:
    done = command(shop, shop.tried, "--profile", "p1", "--profile", "nobody-yet")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert re.search(r"estimated lift \+\d+\.\d% \[\+\d+\.\d%, \+\d+\.\d%\]", said), said
    assert "slots judged: 3 of 3" in said
    assert "mean weight" in said
    for estimator in ESTIMATORS:
        assert f"cascade      {estimator} " in said, estimator
    for person in ("p1 on home", "nobody-yet on home"):
        assert person in said
    assert "before" in said


def test_the_same_log_and_seed_say_the_same_twice(shop: Shop) -> None:
    def said() -> str:
        out = Console(file=StringIO(), width=120)
        assert suppose(Supposing(shop.tried, shop.data, "1h", seed=3), {}, ManualClock(NOW), out)
        assert isinstance(out.file, StringIO)
        return out.file.getvalue()

    assert said() == said()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (LOGGED, "changes no surface"),
        ("[surfaces.home]\nweights = { popularity = 1.0 }\ntaau = 1", "taau"),
        ("[surfaces.home", "not readable TOML"),
        (None, "not readable TOML"),
    ],
)
def test_a_configuration_that_cannot_be_tried_is_refused(
    shop: Shop, tmp_path: Path, config: str | None, says: str
) -> None:
    path = tmp_path / "new.toml"
    if config is not None:
        path.write_text(config)
    with pytest.raises((BadSettings, BadRequest), match=says):
        suppose(Supposing(path, shop.data, "1h"), {}, SystemClock(), Console(file=StringIO()))


def test_the_command_fails_in_one_line(shop: Shop, tmp_path: Path) -> None:
    done = command(shop, tmp_path / "nowhere.toml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_log_of_one_fixed_policy_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Without a temperature the best item gets the slot, always. Beside the running service."""
    data, tried = tmp_path / "data", tmp_path / "new.toml"
    tried.write_text(TRIED)
    data.mkdir()
    (data / "everfold.toml").write_text(STILL)
    with Service(data, Settings.load(data, {})) as service:
        service.add_items(*[{"item_id": item, "title": item} for item in ITEMS])
        after = service.send(viewed("ann", ITEMS[0]))
        service.settle()
        assert service.get(f"/v1/recommend?user_id=ann&n=3&after={after}").json["logged"]
        done = command(Shop(data, tried, 0.0), tried)
    assert done.returncode == 1
    assert "deterministic logging" in done.stdout
    assert "propensity 1" in done.stdout
    assert "estimated lift" not in done.stdout
