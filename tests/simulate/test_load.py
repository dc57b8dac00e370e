"""Load on targets that answer, stall, fail and hang."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from targets import Answering, answer, babbling, failing, hanging, nobody, target, well

from events.errors import BadSettings, Unavailable
from simulate.clients import Reply, Target
from simulate.load import RETRIED, Load, Mix, Plan, Tally, by_outcome, offered

ONE_IN_FIVE = Mix()


@dataclass(frozen=True)
class Question:
    data: bytes


@dataclass(frozen=True)
class Batch:
    data: bytes
    events: int = 3


@dataclass
class Steady:
    """Always the same question and the same batch."""

    target: Target
    asks_max: int = 1_000_000
    asks_take_s: float = 0.0
    asked: int = 0
    sent: int = 0
    replies: list[Reply] = field(default_factory=list)

    def ask(self, at_s: float) -> Question:
        self.asked += 1
        until = time.perf_counter() + self.asks_take_s
        while time.perf_counter() < until:
            pass
        if self.asked > self.asks_max:
            raise Unavailable("nobody comes any more")
        return Question(self.target.get("/v1/recommend", n=str(self.asked)))

    def answered(self, question: Question, reply: Reply, at_s: float) -> None:
        self.replies.append(reply)

    def flush(self, at_s: float) -> Batch | None:
        self.sent += 1
        return Batch(self.target.batch(b'{"batch": [%d]}' % self.sent))


@dataclass
class Ran:
    tally: Tally
    traffic: Steady
    seconds: float


def ran(
    there: Answering | Target,
    plan: Plan,
    mix: Mix = ONE_IN_FIVE,
    meanwhile: Callable[[Load[Question, Batch]], None] | None = None,
    asks_max: int = 1_000_000,
    asks_take_s: float = 0.0,
) -> Ran:
    async def on(peer: Target) -> Ran:
        traffic = Steady(peer, asks_max, asks_take_s)
        load = Load(peer, traffic, plan, mix, np.random.default_rng(plan.seed))
        loop = asyncio.get_running_loop()
        if meanwhile is not None:
            loop.call_later(0.2, meanwhile, load)
        begun = time.monotonic()
        tally = await load.run(loop.time())
        return Ran(tally, traffic, time.monotonic() - begun)

    async def run() -> Ran:
        if isinstance(there, Target):
            return await on(there)
        async with target(there) as peer:
            return await on(peer)

    return asyncio.run(run())


def test_an_open_loop_sends_what_is_due_and_one_request_in_five_is_a_batch() -> None:
    found = ran(well, Plan(rate=400, duration_s=0.5)).tally
    lists, batches = (sum(found.outcomes[kind].values()) for kind in ("recommend", "events"))
    assert batches == (lists + batches) // 5
    assert found.latency["recommend"].number == lists
    assert found.good.sum() == lists + batches
    assert found.events == 3 * batches


def test_arrivals_are_those_of_a_poisson_process_of_that_rate() -> None:
    plan = Plan(rate=2_000, duration_s=1.0)

    async def gaps() -> list[float]:
        peer = nobody()
        load = Load(peer, Steady(peer), plan, Mix(), np.random.default_rng(1))
        found = [load._gap(0.0) for _ in range(4_000)]
        await load.lines.close()
        return found

    found = np.array(asyncio.run(gaps()))
    assert found.mean() == pytest.approx(1 / 2_000, rel=0.06)
    assert found.std() == pytest.approx(found.mean(), rel=0.06)


def test_a_stall_is_charged_to_everybody_who_was_due_meanwhile() -> None:
    """The target answers nobody for 0.4 s, once. A loop that waited for it would see one slow request."""
    asked = 0
    stall: list[float] = []

    async def stalling(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        now = asyncio.get_running_loop().time()
        if asked == 40:
            stall.append(now + 0.4)
        if stall and now < stall[0]:
            await asyncio.sleep(stall[0] - now)
        answer(writer)

    found = ran(stalling, Plan(rate=200, duration_s=1.0, connections=2)).tally
    slow = found.latency["recommend"].quantiles((0.75,))[0]
    assert slow > 0.1


@pytest.mark.parametrize(
    ("there", "said"), [(failing, "HTTP 500"), (hanging, "no answer in time"), (babbling, "no HTTP")]
)
def test_a_target_that_never_answers_well_ends_the_run_with_the_reason(there: Answering, said: str) -> None:
    found = ran(there, Plan(rate=100, duration_s=600, timeout_s=0.2, patience_s=0.5))
    assert said in found.tally.stopped
    assert found.seconds < 20
    assert found.tally.good.sum() == 0
    assert found.tally.bad.sum() > 0
    assert not [reply for reply in found.traffic.replies if reply.ok]


def test_an_address_where_nobody_listens_ends_the_run_with_the_reason() -> None:
    found = ran(nobody(), Plan(rate=100, duration_s=600, patience_s=0.5)).tally
    assert "connection refused" in found.stopped
    assert found.latency["recommend"].number == 0, "refusals are no latencies"


def test_a_slow_target_is_timed_out_and_every_request_ends() -> None:
    found = ran(hanging, Plan(rate=100, duration_s=0.3, timeout_s=0.2, connections=2))
    outcomes = by_outcome(found.tally)["recommend"]
    assert set(outcomes) <= {"timeout", "unsent"}
    assert sum(outcomes.values()) == found.traffic.asked == len(found.traffic.replies)
    assert found.tally.latency["recommend"].quantiles((0.5,))[0] >= 0.19
    assert found.tally.given_up == 3 * found.traffic.sent


def test_a_batch_that_was_not_taken_goes_again_as_it_was_and_is_counted_apart() -> None:
    bodies: Counter[bytes] = Counter()

    async def first_refused(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        bodies[body] += 1
        answer(writer, b"{}", 503 if bodies[body] == 1 else 200)

    found = ran(first_refused, Plan(rate=20, duration_s=0.4, patience_s=30), Mix(events_share=1.0)).tally
    assert set(bodies.values()) == {2}
    assert found.outcomes["events"] == {"503": len(bodies)}
    assert found.outcomes[RETRIED] == {"200": len(bodies)}
    assert (found.events, found.given_up) == (3 * len(bodies), 0)


def test_what_was_refused_for_good_is_not_sent_again() -> None:
    async def unauthorized(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        answer(writer, b"{}", 401)

    found = ran(unauthorized, Plan(rate=50, duration_s=0.2), Mix(events_share=1.0)).tally
    assert not found.outcomes[RETRIED]
    assert found.given_up == 3 * found.outcomes["events"]["401"]


def test_a_closed_loop_has_one_request_per_connection_under_way() -> None:
    now = most = 0

    async def counted(line: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.002)
        now -= 1
        await well(line, body, writer)

    found = ran(counted, Plan(duration_s=0.4, closed=True, connections=3)).tally
    assert most == 3
    assert found.good.sum() > 3


def test_a_run_can_be_ended_early_and_keeps_what_it_saw() -> None:
    found = ran(well, Plan(rate=200, duration_s=600), meanwhile=lambda load: load.stop("interrupted"))
    assert found.tally.stopped == "interrupted"
    assert found.seconds < 10
    assert found.tally.good.sum() > 0
    assert found.tally.lasted_s < 10


def test_when_nobody_comes_any_more_the_run_is_over_and_says_so() -> None:
    found = ran(well, Plan(rate=500, duration_s=600), asks_max=20)
    assert found.tally.stopped == "nobody comes any more"
    assert found.tally.outcomes["recommend"]["200"] == 20


def test_a_generator_that_cannot_keep_up_ends_in_time_and_says_how_much_was_never_sent() -> None:
    """Making a question takes ten times as long as there is."""
    found = ran(well, Plan(rate=1_000, duration_s=0.5), Mix(events_share=0.0), asks_take_s=0.01)
    sent = sum(found.tally.outcomes["recommend"].values())
    assert 0 < sent < 100
    assert found.tally.never_due > 100
    assert found.tally.late.quantiles((1.0,))[0] > 0.1
    assert found.seconds < 30


def test_processes_add_up() -> None:
    plan, lists = Plan(rate=200, duration_s=0.2), Mix(events_share=0.0)
    one, other = ran(well, plan, lists).tally, ran(failing, plan, lists).tally
    good, bad = int(one.good.sum()), int(other.bad.sum())
    one.merge(other)
    assert (one.good.sum(), one.bad.sum()) == (good, bad)
    assert one.outcomes["recommend"]["500"] > 0 < one.outcomes["recommend"]["200"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 0.0}, "more than 0"),
        ({"rate": -1.0}, "more than 0"),
        ({"rate": float("nan")}, "more than 0"),
        ({"rate": float("inf")}, "more than 0"),
        ({"rate": 1e9}, "beyond"),
        ({"users": 0}, "--users"),
        ({"users": 10**9}, "--users"),
        ({"duration_s": 0.0}, "--duration"),
        ({"duration_s": 1e9}, "--duration"),
        ({"duration_s": float("nan")}, "--duration"),
        ({"processes": 0}, "--processes"),
        ({"processes": 1000}, "--processes"),
        ({"connections": 0}, "--connections"),
        ({"timeout_s": 0.0}, "--timeout"),
        ({"timeout_s": 1e6}, "--timeout"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_sent(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        Plan(**wrong)  # type: ignore[arg-type]


def test_what_is_offered_follows_the_mix() -> None:
    assert offered(Plan(rate=100), Mix()) == pytest.approx(100)
    assert offered(Plan(rate=100), Mix(busier=lambda share: 3.0 if share < 0.5 else 1.0)) == pytest.approx(200)
