"""What a load run found, on paper."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from targets import nobody

from events.errors import BadRequest
from simulate.business import Business, Taken, Worth, gini, verdict, worth_of
from simulate.clients import Reply
from simulate.freshness import Freshness
from simulate.latency import Latencies
from simulate.load import Plan, Tally
from simulate.load_process import Job, Outcome, Seen
from simulate.load_report import as_json, page, report_of, write
from simulate.scenario import Scenario
from simulate.service_memory import growth_per_minute
from simulate.truth import Truth
from simulate.visitors import comers
from simulate.world import World
from simulate.world_spec import SPECS

PLAN = Plan(users=40, rate=100, duration_s=20)
JOB = Job(PLAN, Scenario("tiny", "<small> & shop", SPECS["tiny"]), nobody(), "r", 0)


def seen(seconds: float = 20.0) -> Seen:
    """A second of answers and failures in every second."""
    tally = Tally.over(seconds)
    for n in range(int(seconds) * 100):
        due = n / 100
        kind = "events" if n % 5 == 0 else "recommend"
        failed = n % 50 == 0
        tally.ended(kind, due, due + 0.010, Reply(500 if failed else 200))
        tally.late.add(due, 0.001)
    tally.lasted_s, tally.events, tally.given_up = seconds, 900, 100
    business = Business.over(seconds, 30)
    for n in range(int(seconds)):
        business.judge(float(n), n, Worth(0.4, 1.0, 0.6, 0.1))
    known, new = Latencies.over(seconds), Latencies.over(seconds)
    known.add(1.0, 0.02)
    return Seen(tally, business, Freshness(known, new, stale=1))


def test_the_numbers_are_those_of_the_run() -> None:
    report = report_of(JOB, "now", Outcome(seen()), [(10.0 * n, 10**9) for n in range(12)])
    assert not report.faults
    assert report.good_per_s == pytest.approx(98)
    assert report.error_share == pytest.approx(0.02)
    assert report.kinds["recommend"].latency_ms["p99"] == pytest.approx(10, rel=0.01)
    assert report.kinds["events"].outcomes == {"200": 360, "500": 40}
    assert (report.events_acknowledged, report.events_given_up) == (900, 100)
    assert report.freshness_ms["known"]["p50"] == pytest.approx(20, rel=0.01)
    assert (report.freshness_probes, report.freshness_stale) == (2, 1)
    assert report.service_memory["growth_mb_per_minute"] == 0
    assert report.business is not None
    assert report.business.regret_share == pytest.approx(0.6 / 0.4)
    assert report.business.lift_over_popular == pytest.approx(0.4 / 0.6 - 1)
    throughput = next(plot for plot in report.plots if plot.key == "throughput")
    assert [rate for _, rate in throughput.lines["answered"]] == [98.0] * 20


def test_a_run_that_never_began_has_a_report_too(tmp_path: Path) -> None:
    report = report_of(JOB, "now", Outcome(None, ["the target did not take the catalogue: connection refused"]), [])
    write(report, tmp_path / "new" / "folder")
    told = json.loads((tmp_path / "new" / "folder" / "report.json").read_text())
    assert told["faults"] == ["the target did not take the catalogue: connection refused"]
    assert told["good_per_s"] is None
    assert "connection refused" in (tmp_path / "new" / "folder" / "report.html").read_text()


def test_a_run_that_saw_nothing_has_dashes_where_numbers_would_be() -> None:
    nothing = Seen(Tally.over(20), Business.over(20, 5))
    report = report_of(JOB, "now", Outcome(nothing), [])
    assert math.isnan(report.error_share)
    assert "NaN" not in as_json(report).decode()
    assert "nan" not in page(report)


def test_a_generator_that_was_late_says_that_figures_are_about_itself() -> None:
    late = seen()
    for n in range(100):
        late.tally.late.add(n / 10, 0.3)
    assert "late" in report_of(JOB, "now", Outcome(late), []).faults[0]
    short = seen()
    short.tally.never_due = 1_000
    assert "could not send 1,000 requests" in report_of(JOB, "now", Outcome(short), []).faults[0]


def test_the_page_is_one_file_that_needs_nothing_else_and_escapes_what_it_shows() -> None:
    text = page(report_of(JOB, "<now>", Outcome(seen(), ["<script>alert(1)</script>"]), [(0.0, 10**9), (9.0, 10**9)]))
    parser = _Tags()
    parser.feed(text)
    assert "script" not in parser.tags
    assert "svg" in parser.tags
    assert not parser.open
    assert "&lt;small&gt; &amp; shop" in text
    assert "http" not in text.replace(JOB.target.url, "").replace("HTTP 200", "").replace("HTTP 500", "").lower()


class _Tags(HTMLParser):
    VOID = {"meta", "line", "polyline", "circle", "rect", "path"}

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="choose another --report"):
        write(report_of(JOB, "now", Outcome(seen()), []), tmp_path / "file" / "sub")


def test_growth_is_that_of_the_latter_half() -> None:
    warming = [(10.0 * n, 1000 * n) for n in range(10)] + [(10.0 * n, 10_000) for n in range(10, 20)]
    assert growth_per_minute(warming) == 0
    assert math.isnan(growth_per_minute([(0.0, 1), (1.0, 2)]))


def test_no_list_is_worth_more_than_the_oracles_and_its_own_has_no_regret() -> None:
    world = World(SPECS["tiny"], 3)
    truth, taken, chance = Truth(world), Taken.nothing(world.shelf), np.random.default_rng(1)
    visits = comers(world)
    for _ in range(40):
        visit = next(visits)
        best = truth.oracle(visit, 10)[0]
        own = worth_of(truth, visit, best, taken, chance)
        some = worth_of(truth, visit, world.shelf.ids[:10], taken, chance)
        assert own.shown == own.oracle
        assert max(some.shown, some.popular, some.chance) <= some.oracle + 1e-9
        taken.add((*world.organic(visit).views, *world.answer(visit, best).acts))


def test_the_popular_baseline_is_what_people_did_most_of_what_is_on_the_shelf() -> None:
    world = World(SPECS["tiny"], 3)
    taken, visits = Taken.nothing(world.shelf), comers(world)
    at = 0
    for _ in range(200):
        visit = next(visits)
        taken.add(world.organic(visit).order)
        at = visit.at
    most = taken.most(5, at, ())
    numbers = [world.shelf.numbers[item] for item in most]
    assert taken.weight[numbers].tolist() == sorted(taken.weight[world.shelf.alive(at)].tolist(), reverse=True)[:5]
    assert most[0] not in taken.most(5, at, most[:1])


def test_sums_of_processes_are_those_of_one() -> None:
    one, other, both = (Business.over(10, 3) for _ in range(3))
    for n in range(8):
        for business in (one if n % 2 else other, both):
            business.judge(float(n), n, Worth(0.1 * n, 1.0, 0.5, 0.2))
    one.merge(other)
    assert np.allclose(one.worth, both.worth)
    assert verdict(one).of_oracle == pytest.approx(verdict(both).of_oracle)
    assert one.judged_by_visits.tolist() == both.judged_by_visits.tolist()


def test_equal_exposure_has_no_inequality() -> None:
    assert gini(np.array([3, 3, 3])) == 0
    assert math.isnan(gini(np.zeros(4, np.int64)))
