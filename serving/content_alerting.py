"""Content alerts as a task of `serving.follower_host.FollowerHost`: unhurried, so that it is in nobody's way."""

from __future__ import annotations

import threading
import time

from actors.content_alerts import FOLLOWER
from actors.content_alerts_opened import OpenedContentAlerts
from actors.outbox import Append
from events.clock import Clock
from events.errors import EverfoldError
from serving.follower_host import FollowerStatus

BETWEEN_S = 0.02
"""Between two slices of a pass, each about half as long: a million profiles take a minute of CPU and two of time."""
LOOK_S = 0.5
SEND_AGAIN_S = 0.5


class ContentAlerting:
    """See the module; ``alerts`` is closed with it."""

    def __init__(self, alerts: OpenedContentAlerts, clock: Clock, append: Append) -> None:
        self.name = FOLLOWER
        self._alerts = alerts
        self._clock = clock
        self._append = append
        self._woken = threading.Event()
        self._more = False
        self._again = 0.0

    def step(self) -> bool:
        self._more = self._alerts.step(self._clock.now())
        if time.monotonic() >= self._again:
            try:
                self._alerts.send(self._append)
            except (EverfoldError, TimeoutError):  # the host is away: what waits is sent another time
                self._again = time.monotonic() + SEND_AGAIN_S
        return False

    def wait(self) -> None:
        self._woken.wait(BETWEEN_S if self._more else LOOK_S)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self) -> FollowerStatus:
        alerts = self._alerts
        numbers = {
            "everfold_content_alerts_total": float(alerts.told),
            "everfold_content_alerts_waiting": float(alerts.waiting),
            "everfold_content_news_waiting": float(alerts.fresh),
        }
        return FollowerStatus(self.name, alerts.lag(), deferred=self._more, numbers=numbers)

    def close(self) -> None:
        self._alerts.close()
