"""Webhooks: signed, retried, in order per person, exactly once in effect, whatever fails or is killed."""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moving import moved, moved_all
from pydantic import SecretStr
from receiving import Received, Receiver, receiver
from service import Service, until

from actors.state import MemoryState
from actors.store import Store
from events.clock import SystemClock
from events.errors import BadSettings
from events.ids import user_key
from serving.alerts import DELIVERY, SIGNATURE
from serving.logs import JsonLog
from serving.settings import FILE, Settings, WebhookSettings
from serving.transitions import Position, Transitions
from serving.webhooks import COUNTED_MAX, FOLDER, LANES, Result, Webhook, posting

SECRET = "a secret of 16+ characters"
BUSY_S = 120.0
"""A process on a machine that is busy with others takes seconds to start."""


def configured(url: str, timeout_s: float = 5.0, segments: tuple[str, ...] = ()) -> WebhookSettings:
    return WebhookSettings(url=url, secret=SecretStr(SECRET), timeout_s=timeout_s, segments=segments)


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


@pytest.fixture
def logs(service: Service) -> Iterator[Transitions]:
    opened = Transitions(Store.open(service.data))
    yield opened
    opened.close()


class Killed(BaseException):
    """The process ends here."""


class Hooked:
    """A webhook over a state that survives it, driven by a clock of the test's own."""

    def __init__(self, logs: Transitions, settings: WebhookSettings, begin: Position) -> None:
        self.logs, self.settings, self.begin = logs, settings, begin
        self.state, self.lines = MemoryState(), io.StringIO()
        self.now = 1_000_000.0
        self.open()

    def open(self, steps: Callable[[str], None] = lambda step: None) -> None:
        post, log = posting(self.settings, SystemClock()), JsonLog(SystemClock(), self.lines)
        self.hook = Webhook("crm", self.settings, self.logs, self.state, post, log, self.begin, steps)

    def run(self, done: Callable[[], bool], pause_s: float = 0.25) -> bool:
        """Until ``done``; whenever nothing is under way and nothing to do, time passes."""
        landing, deadline = threading.Event(), time.monotonic() + 30
        while not done():
            if time.monotonic() > deadline:
                return False
            if not self.hook.step(self.now):
                if self.hook.flying:
                    landing.wait(0.001)
                else:
                    self.now += pause_s
        return True


def all_told(hooked: Hooked) -> Callable[[], bool]:
    return lambda: hooked.hook.lag() == 0


def test_a_running_service_tells_who_enters_and_leaves_signed_and_in_order(tmp_path: Path, other: Receiver) -> None:
    settings = Settings(segments_shipped=False, webhooks={"crm": configured(other.url, segments=("fans",))})
    with Service(tmp_path / "data", settings) as service:
        ids = {
            f"u{n}": [moved(service, f"u{n}", "fans", step % 2 == 0, step=step) for step in range(6)] for n in range(5)
        }
        moved(service, "u0", "others")
        assert until(lambda: len(other.taken) == 30)
        assert (
            'everfold_webhook_deliveries_total{webhook="crm",outcome="sent"} 30'
            in service.get("/metrics").body.decode()
        )
    assert {user: other.of(user) for user in ids} == ids
    first = next(one for one in other.taken if one.user == "u3")
    assert first.headers[DELIVERY] == first.id
    at, _, sent = first.headers[SIGNATURE].removeprefix("t=").partition(",v1=")
    assert sent == hmac.new(SECRET.encode(), at.encode() + b"." + first.body, hashlib.sha256).hexdigest()
    told = first.told
    assert (told["event"], told["data"]) == (
        "segment_entered",
        {"user_id": "u3", "segment": "fans", "evidence": {"step": 0}},
    )


def test_a_service_that_comes_back_tells_what_happened_meanwhile_and_nothing_twice(
    tmp_path: Path, other: Receiver
) -> None:
    settings = Settings(segments_shipped=False, webhooks={"crm": configured(other.url)})
    with Service(tmp_path / "data", settings) as service:
        moved(service, "u", "before")
        assert until(lambda: len(other.taken) == 1)
    with Service(tmp_path / "data") as service:
        moved(service, "u", "meanwhile")
    with Service(tmp_path / "data", settings) as service:
        moved(service, "u", "after")
        assert until(lambda: len(other.taken) == 3)
    assert [one.told["data"]["segment"] for one in other.taken] == ["before", "meanwhile", "after"]  # type: ignore[index]


def test_what_fails_for_a_while_is_tried_until_it_is_taken_in_order(
    service: Service, logs: Transitions, other: Receiver
) -> None:
    luck = random.Random(7)
    other.answers = lambda number, received: luck.choice([204, 500, 503, 429, 200])
    hooked = Hooked(logs, configured(other.url), logs.end())
    moves = [(f"w{n % 6}", "fans", (n // 6) % 2 == 0) for n in range(60)]
    ids = moved_all(service, moves)
    assert hooked.run(all_told(hooked))
    assert hooked.hook.given_up == 0
    for user in {user for user, _, _ in moves}:
        assert other.of(user) == [one for one, (who, _, _) in zip(ids, moves, strict=True) if who == user]
    assert len(other.attempts) > len(ids)


def test_nothing_is_lost_or_given_up_while_the_other_side_is_away_for_a_day(
    service: Service, logs: Transitions, other: Receiver
) -> None:
    other.answers = lambda number, received: 503
    hooked = Hooked(logs, configured(other.url), logs.end())
    ids = moved_all(service, [(f"d{n}", "fans", True) for n in range(20)])
    end = hooked.now + 86_400
    assert hooked.run(lambda: hooked.now > end, pause_s=50.0)
    assert hooked.hook.given_up == 0
    assert LANES <= len(other.attempts) < 3_000  # a minute's rest between two tries
    other.answers = lambda number, received: 204
    assert hooked.run(all_told(hooked))
    assert sorted(one.id for one in other.effects()) == sorted(ids)


def test_one_that_always_fails_is_given_up_and_holds_up_nobody_but_its_person(
    service: Service, logs: Transitions, other: Receiver
) -> None:
    hooked = Hooked(logs, configured(other.url), logs.end())
    bad = moved(service, "p-bad", "poison")
    good = moved_all(service, [(f"p{n}", "fans", True) for n in range(40)])
    after = moved(service, "p-bad", "fans")
    other.answers = lambda number, received: 500 if received.id == bad else 204
    assert hooked.run(lambda: len(other.effects()) == len(good))
    assert hooked.hook.given_up == 0

    def others_get_through() -> bool:
        if len(other.taken) < 200:
            moved(service, "p-steady", "fans")
        hooked.now += 60
        return hooked.hook.given_up == 1

    assert hooked.run(others_get_through)
    assert hooked.run(all_told(hooked))
    assert other.of("p-bad") == [after]
    assert sum(one.id == bad for one in other.attempts) >= COUNTED_MAX
    assert "webhook_given_up" in hooked.lines.getvalue()
    assert "p-bad" not in hooked.lines.getvalue()


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
def test_one_that_is_refused_is_given_up_at_once(
    service: Service, logs: Transitions, other: Receiver, status: int
) -> None:
    hooked = Hooked(logs, configured(other.url), logs.end())
    bad, good = moved_all(service, [("q", "fans", True), ("q", "fans", False)])
    other.answers = lambda number, received: status if received.id == bad else 204
    assert hooked.run(all_told(hooked))
    assert [one.id for one in other.attempts] == [bad, good]


def test_one_that_hangs_is_tried_again_and_does_not_stop_others(
    service: Service, logs: Transitions, other: Receiver
) -> None:
    hooked = Hooked(logs, configured(other.url, timeout_s=0.2), logs.end())
    other.go_on.clear()
    ids = moved_all(service, [("h1", "fans", True), ("h1", "fans", False), ("h2", "fans", True)])
    assert hooked.run(lambda: len(other.attempts) >= 2)
    assert {one.user for one in other.attempts} == {"h1", "h2"}
    other.go_on.set()
    assert hooked.run(all_told(hooked))
    assert (other.of("h1"), other.of("h2")) == (ids[:2], ids[2:])


def test_retry_after_is_respected(service: Service, logs: Transitions, other: Receiver) -> None:
    hooked = Hooked(logs, configured(other.url), logs.end())
    other.headers["Retry-After"] = "30"
    other.answers = lambda number, received: 429 if number == 0 else 204
    moved(service, "ra", "fans")
    assert hooked.run(lambda: len(other.attempts) == 1 and not hooked.hook.flying)
    failed_at = hooked.now
    assert hooked.run(all_told(hooked), pause_s=1.0)
    assert hooked.now - failed_at >= 29


STEPS = ("read", "noted", "posting", "answered", "settled")


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_step_every_transition_has_its_effect_once_and_in_order(
    service: Service, logs: Transitions, other: Receiver, seed: int
) -> None:
    luck = random.Random(seed)
    other.answers = lambda number, received: 204 if luck.random() < 0.8 else 500
    hooked = Hooked(logs, configured(other.url), logs.end())
    moves = [(f"k{seed}-{luck.randrange(5)}", "fans", luck.random() < 0.5) for _ in range(40)]
    ids: list[str] = []
    for kill in range(12):
        ids += moved_all(service, moves[len(ids) : len(ids) + 4])
        where = STEPS[kill % len(STEPS)]

        def steps(step: str, where: str = where) -> None:
            if step == where and luck.random() < 0.4:
                raise Killed

        hooked.hook.close()
        hooked.open(steps)
        try:
            hooked.run(all_told(hooked))
        except Killed:
            hooked.hook.close()
    hooked.open()
    assert hooked.run(all_told(hooked))
    ids += moved_all(service, moves[len(ids) :])
    assert hooked.run(all_told(hooked))
    assert hooked.hook.given_up == 0
    for user in {user for user, _, _ in moves}:
        assert other.of(user) == [one for one, (who, _, _) in zip(ids, moves, strict=True) if who == user]


CHILD = """
import os, signal, sys
from pathlib import Path
from actors.store import Store
from events.clock import SystemClock
from serving.logs import JsonLog
from serving.settings import Settings
from serving.webhooks import WebhookTask
data, clock = Path(sys.argv[1]), SystemClock()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
nest = os.getpid()
for _ in sys.stdin:
    if os.fork() == 0:
        task = WebhookTask(Store.open(data), "crm", Settings.load(data, {}).webhooks["crm"], clock, JsonLog(clock))
        print(os.getpid(), flush=True)
        while os.getppid() == nest:
            task.step() or task.wait()
        os._exit(0)
"""
"""Imports once, and forks a process that delivers for every line it is sent."""


def test_a_process_killed_with_9_again_and_again_delivers_all_of_it(tmp_path: Path, other: Receiver) -> None:
    """The receiver is slow, so that something is always under way when the process dies."""
    data = tmp_path / "data"
    with Service(data) as service:
        (data / FILE).write_text(f'[webhooks.crm]\nurl = "{other.url}"\nsecret = "{SECRET}"\n')

        nest = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert nest.stdin is not None
        assert nest.stdout is not None

        def child() -> int:
            assert nest.stdin is not None
            assert nest.stdout is not None
            nest.stdin.write("again\n")
            return int(nest.stdout.readline())

        def kill(pid: int) -> None:
            os.kill(pid, signal.SIGKILL)
            assert until(lambda: not Path(f"/proc/{pid}").exists())

        def answers(number: int, received: Received) -> int:
            time.sleep(0.01)
            return 204

        other.answers = answers
        process = child()
        moves = [(f"z{n % 10}", "fans", (n // 10) % 2 == 0) for n in range(150)]
        ids = moved_all(service, moves)
        for death in range(1, 4):
            assert until(lambda death=death: len(other.attempts) >= 30 * death, BUSY_S)  # type: ignore[misc]
            kill(process)
            process = child()
        assert until(lambda: len(other.effects()) == len(ids), BUSY_S)
        kill(process)
        nest.stdin.close()
        nest.stdout.close()
        assert nest.wait(10) == 0
    assert len(other.attempts) <= len(ids) + 3 * LANES  # only what was under way is sent again
    for user in {user for user, _, _ in moves}:
        assert other.of(user) == [one for one, (who, _, _) in zip(ids, moves, strict=True) if who == user]


def test_a_state_that_a_power_cut_made_doubtful_begins_again_where_nothing_was_missed(
    tmp_path: Path, other: Receiver
) -> None:
    settings = Settings(segments_shipped=False, webhooks={"crm": configured(other.url)})
    with Service(tmp_path / "data", settings) as service:
        moved(service, "u", "first")
        assert until(lambda: len(other.taken) == 1)
    with Service(tmp_path / "data") as service:
        moved(service, "u", "second")
    (tmp_path / "data" / FOLDER / "crm" / "marker").write_text("{}")
    with Service(tmp_path / "data", settings) as service:
        assert until(lambda: len(other.effects()) == 2)


def test_who_was_erased_meanwhile_is_not_told_about(fresh: Service, other: Receiver) -> None:
    logs = Transitions(Store.open(fresh.data))
    hooked = Hooked(logs, configured(other.url), logs.end())
    moved(fresh, "gone", "fans")
    stays = moved(fresh, "stays", "fans")
    other.answers = lambda number, received: 503
    assert hooked.run(lambda: len(other.attempts) >= 2)
    fresh.run(fresh.embedded.host.erase(user_key("gone")))
    other.answers = lambda number, received: 204
    assert hooked.run(all_told(hooked))
    assert [one.id for one in other.taken] == [stays]
    logs.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url = 'ftp://x/y'\nsecret = 'sixteen characters'", r"`webhooks\.crm\.url`.*no address"),
        ("url = 'https://x/y'\nsecret = 'short'", r"`webhooks\.crm\.secret`.*fewer than 16"),
        ("url = 'https://x/y'", r"`webhooks\.crm\.secret`"),
        ("url = 'https://x/y'\nsecret = 'sixteen characters'\nsegmnts = ['a']", r"did you mean `segments`"),
        ("url = 'https://x/y'\nsecret = 'sixteen characters'\nevents = ['all']", r"`webhooks\.crm\.events"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE).write_text(f"[webhooks.crm]\n{text}\n")
    with pytest.raises(BadSettings, match=said):
        Settings.load(tmp_path, {})


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(Settings(webhooks={"crm": configured("https://x/y")}))


def test_an_attempt_that_cannot_be_made_is_a_result_not_an_error() -> None:
    assert posting(configured("http://127.0.0.1:1/x"), SystemClock())("id", b"{}") == Result(
        0, 0.0, "ConnectionRefusedError"
    )
