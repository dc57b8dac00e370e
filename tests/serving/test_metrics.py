"""Numbers of many processes as one text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.histogram import BOUNDS_S
from serving.metrics import Merged, Numbers, alive, file_of, quantile, series


def lines(merged: Merged) -> list[str]:
    return [line for line in merged.text().splitlines() if not line.startswith("#")]


def test_counters_of_all_processes_add_up_whichever_is_asked(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from serving.metrics import Numbers, file_of;"
        "n = Numbers(file_of(Path(sys.argv[1]), os.getpid()));"
        "n.counter('everfold_events_total', outcome='ok').add(5);"
        "n.gauge('everfold_state_age_seconds').set(9.0);"
        "n.histogram('everfold_http_seconds', route='/').observe(0.004)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    ours = Numbers(file_of(tmp_path, os.getpid()))
    ours.counter("everfold_events_total", outcome="ok").add(2)
    ours.gauge("everfold_state_age_seconds").set(1.5)
    ours.histogram("everfold_http_seconds", route="/").observe(0.0001)

    merged = Merged.of(tmp_path)

    text = lines(merged)
    assert 'everfold_events_total{outcome="ok"} 7' in text
    assert 'everfold_http_seconds_count{route="/"} 2' in text
    assert 'everfold_http_seconds_bucket{route="/",le="+Inf"} 2' in text
    assert 'everfold_http_seconds_bucket{route="/",le="0.0001"} 1' in text
    assert "everfold_state_age_seconds 1.5" in text, "the gauge of a dead process must not count"
    assert merged.replicas == 1


def test_a_number_is_seen_by_others_the_moment_it_is_set(tmp_path: Path) -> None:
    numbers = Numbers(tmp_path / f"{os.getpid()}.0.numbers")
    counter = numbers.counter("everfold_events_total", outcome="ok")
    for expected in (1, 2, 3):
        counter.add()
        assert f'everfold_events_total{{outcome="ok"}} {expected}' in lines(Merged.of(tmp_path))


def test_gauges_merge_as_their_metric_says() -> None:
    merged = Merged()
    items = series("everfold_follower_age_seconds", follower="items")
    for disk, age, backlog in ((5.0, 1.0, 1.0), (3.0, 4.0, 2.0)):
        merged.add(
            {"everfold_disk_free_bytes": [disk], items: [age], "everfold_spool_backlog_bytes": [backlog]},
        )
    assert lines(merged) == [
        "everfold_disk_free_bytes 3",
        'everfold_follower_age_seconds{follower="items"} 4',
        "everfold_spool_backlog_bytes 3",
    ]


def test_a_process_that_died_counts_on_but_is_not_alive(tmp_path: Path) -> None:
    ours = file_of(tmp_path, os.getpid())
    Numbers(ours).counter("everfold_events_total", outcome="ok").add()
    (tmp_path / "1.123.numbers").write_bytes(ours.read_bytes())
    assert alive(tmp_path) == 1
    assert 'everfold_events_total{outcome="ok"} 2' in lines(Merged.of(tmp_path))


def test_a_file_that_is_half_made_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.1.numbers").write_bytes(b"")
    (tmp_path / "2.1.numbers").write_bytes(bytes(100))
    (tmp_path / "nonsense.numbers").write_bytes(b"x")
    assert lines(Merged.of(tmp_path)) == []


def test_labels_are_escaped() -> None:
    assert series("everfold_events_total", outcome='a"\\\n') == 'everfold_events_total{outcome="a\\"\\\\\\n"}'


def test_only_known_metrics_can_be_used() -> None:
    with pytest.raises(KeyError):
        Numbers().counter("everfold_surprise_total")
    with pytest.raises(AssertionError, match="histogram"):
        Numbers().counter("everfold_http_seconds")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds: list[float], share: float) -> None:
    numbers = Numbers()
    histogram = numbers.histogram("everfold_http_seconds", route="/")
    for one in seconds:
        histogram.observe(one)
    counts = numbers.read()['everfold_http_seconds{route="/"}'][1:]
    wanted = share * len(seconds)
    true = next(one for at, one in enumerate(sorted(seconds), 1) if at >= wanted)
    upper = next((bound for bound in BOUNDS_S if true <= bound), BOUNDS_S[-1])
    lower = max((bound for bound in BOUNDS_S if bound < true), default=0.0)
    assert min(lower, BOUNDS_S[-1]) <= quantile(counts, share) <= upper


def test_the_text_is_what_prometheus_reads() -> None:
    numbers = Numbers()
    numbers.histogram("everfold_fsync_seconds").observe(0.001)
    merged = Merged()
    merged.add(numbers.read())
    text = merged.text()
    assert "# TYPE everfold_fsync_seconds histogram" in text
    assert 'everfold_fsync_seconds_quantile{quantile="0.99"}' in text
    assert text.endswith("\n")
    assert len(set(lines(merged))) == len(lines(merged))
