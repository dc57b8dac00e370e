"""Drift is found where the world changed, not where the hour did; killed and restored, the monitor goes on the same."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN
from scipy.stats import ks_2samp

from events.errors import Corrupt
from simulate.drifting import HOUR_MS, MODEL, MONDAY_MS, Traffic
from training.drift import DAY_MS, EVERYBODY, Detection, Monitor, Observed, Policy, Signal
from training.drift_residuals import WEEK_HOURS, Baseline, ResidualStream, Watch, logit
from training.drift_windows import PSI_ACT, SAMPLE_ROWS, Sample, Windows, psi, shift

SWAP_HOUR = 2 * WEEK_HOURS + 50


def found(traffic: Traffic, monitor: Monitor | None = None) -> list[tuple[int, Detection]]:
    """(lists since the change, or since the start where there is none; detection)."""
    monitor, lists, out = monitor or Monitor(), 0, []
    changed_at = MONDAY_MS + (traffic.swap_hour or 0) * HOUR_MS
    for rows in traffic.lists():
        lists += rows[0].at_ms >= changed_at
        out += [(lists, detection) for row in rows for detection in monitor.observe(row)]
    return out


def row(at_ms: int, prediction: float = 0.05, outcome: float = 0.0, **more: object) -> Observed:
    return replace(Observed(MODEL, (), at_ms, prediction, outcome), **more)


@pytest.mark.parametrize("seed", [1, 2])
def test_days_and_weeks_come_and_go_without_an_alarm(seed: int) -> None:
    """Click rates swing by 60 % and the model knows nothing of it; four weeks after the first are watched."""
    assert len(found(Traffic(weeks=5, lists_per_week=2500, seed=seed))) == 0


def test_without_the_hours_baseline_the_same_traffic_would_raise_alarms() -> None:
    detector, alarms = ADWIN(), 0
    for rows in Traffic(weeks=2, lists_per_week=4000, seed=1).lists():
        detector.update(sum(one.outcome - one.prediction for one in rows))
        alarms += detector.drift_detected
    assert alarms >= 3


@pytest.fixture(scope="module")
def swapped() -> list[tuple[int, Detection]]:
    return found(Traffic(weeks=3, lists_per_week=4000, seed=1, swap_hour=SWAP_HOUR))


def test_tastes_swapped_for_a_fifth_of_people_are_found_in_their_segment_within_2000_lists(
    swapped: list[tuple[int, Detection]],
) -> None:
    lists, first = swapped[0]
    assert 0 < lists <= 2000
    assert first.segment == "s0"
    assert len(first.detectors) >= 2
    assert {segment for _, detection in swapped if (segment := detection.segment)} == {"s0"}


def test_a_detection_brings_its_evidence(swapped: list[tuple[int, Detection]]) -> None:
    ((_, first), *_) = swapped
    assert first.model == MODEL
    assert first.at_ms >= MONDAY_MS + SWAP_HOUR * HOUR_MS
    assert {signal.detector for signal in first.signals} == set(first.detectors)
    for signal in first.signals:
        assert signal.segment == "s0"
        assert signal.rows_before > signal.rows_after > 0
        if signal.detector in ("prediction", "rate"):
            assert signal.after < signal.before - 0.01


def test_nothing_is_said_before_the_baseline_has_seen_a_week() -> None:
    early = Traffic(weeks=1, lists_per_week=3000, seed=1, swap_hour=60, swapped=0.0)
    assert found(early) == []
    sooner = Monitor(Policy(watch=Watch(warm_up_hours=48)))
    assert found(early, sooner) != []


def test_a_detection_is_followed_by_rest() -> None:
    alarms = found(Traffic(weeks=3, lists_per_week=3000, seed=2, swap_hour=SWAP_HOUR, swapped=0.0))
    assert alarms
    last: dict[str, int] = {}
    for _, detection in alarms:
        assert detection.at_ms - last.get(detection.segment, -DAY_MS) >= DAY_MS
        last[detection.segment] = detection.at_ms


def test_killed_and_restored_it_says_what_the_one_that_was_not_says() -> None:
    """Killed after each of the first rows, and later every so many."""
    traffic = Traffic(weeks=3, lists_per_week=900, seed=4, swap_hour=SWAP_HOUR, swapped=0.0, features=2)
    rows = [one for rows in traffic.lists() for one in rows]
    whole = Monitor()
    said = [whole.observe(one) for one in rows]
    assert any(said)
    broken, parts, again = Monitor(), {}, []
    for number, one in enumerate(rows):
        if number < 25 or number % 5003 == 0:
            parts |= broken.changed()
            broken = Monitor.restored(parts)
        again.append(broken.observe(one))
    assert again == said
    assert _state(broken, parts) == _state(whole, {})


def _state(monitor: Monitor, parts: dict[str, bytes]) -> dict[str, bytes]:
    return parts | monitor.changed()


def test_only_what_changed_is_written_again() -> None:
    monitor = Monitor()
    monitor.observe(row(MONDAY_MS, segments=("a",), features=(1.0,)))
    first = monitor.changed()
    assert len(first) == 5
    monitor.observe(row(MONDAY_MS, segments=("b",)))
    assert sorted(monitor.changed()) == ['["residuals","home/click",""]', '["residuals","home/click","b"]', "policy"]
    assert list(monitor.changed()) == ["policy"]


@pytest.mark.parametrize("parts", [{"policy": b"\xc1"}, {"nonsense": b""}, {'["residuals","m",""]': b"\x80"}])
def test_state_that_is_none_is_refused(parts: dict[str, bytes]) -> None:
    with pytest.raises(Corrupt, match="drift state"):
        Monitor.restored(parts)


def test_rivers_window_is_saved_and_restored_exactly() -> None:
    """The state lies behind a private name of River: should a release move it, this fails first."""
    rng = np.random.default_rng(5)
    whole = ADWIN()
    for value in rng.normal(size=5000):
        whole.update(value)
    copy = ADWIN()
    copy._helper.__setstate__(whole._helper.__getstate__())
    for value in [*rng.normal(size=500), *rng.normal(1, 1, size=500)]:
        whole.update(value)
        copy.update(value)
        assert (whole.drift_detected, whole.width, whole.total) == (copy.drift_detected, copy.width, copy.total)
    assert whole._helper.__getstate__() == copy._helper.__getstate__()


def test_streams_beyond_the_bound_are_counted_and_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.drift.STREAMS_MAX", 2)
    monitor = Monitor()
    for name in ("a", "b", "c", "c"):
        monitor.observe(row(MONDAY_MS, segments=(name,)))
    assert monitor.unwatched == 2
    assert len(monitor.changed()) == 3


class TestAgreement:
    """The policy alone, on hints of our own."""

    def hint(self, detector: str, at: int, segment: str = EVERYBODY, acts: bool = True) -> Signal:
        return Signal("m", segment, detector, at, 0.0, 1.0, 10, 10, 0.0, "", acts)  # type: ignore[arg-type]

    def said(self, *signals: Signal) -> list[tuple[str, ...]]:
        monitor = Monitor()
        return [(d.segment, *d.detectors) for signal in signals for d in monitor._agreed([signal])]

    def test_one_detector_alone_is_no_detection(self) -> None:
        assert self.said(self.hint("prediction", 0), self.hint("prediction", 5)) == []

    def test_two_residuals_agree(self) -> None:
        assert self.said(self.hint("rate", 0), self.hint("log_loss", 5)) == [("", "log_loss", "rate")]

    def test_two_in_different_segments_do_not(self) -> None:
        assert self.said(self.hint("rate", 0, "a"), self.hint("prediction", 5, "b")) == []

    def test_two_far_apart_do_not(self) -> None:
        assert self.said(self.hint("rate", 0), self.hint("prediction", Policy().agree_ms + 1)) == []

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_residual_and_a_psi_that_acts_agree_in_either_order(self, order: int) -> None:
        hints = [self.hint("rate", 5, "a"), self.hint("psi", 5)][::order]
        assert self.said(*hints) == [("a", "psi", "rate")]

    def test_a_psi_that_only_warns_agrees_with_nobody(self) -> None:
        assert self.said(self.hint("psi", 0, acts=False), self.hint("rate", 5)) == []

    def test_features_that_move_alone_make_no_prediction_wrong(self) -> None:
        assert self.said(self.hint("psi", 0), self.hint("ks", 5)) == []

    def test_after_a_detection_echoes_are_not_heard_and_later_ones_are(self) -> None:
        rest = Policy().rest_ms
        first = [self.hint("rate", 0), self.hint("prediction", 5)]
        echo = [self.hint("log_loss", 10), self.hint("rate", rest)]
        later = [self.hint("rate", 5 + rest), self.hint("prediction", 6 + rest)]
        assert len(self.said(*first, *echo)) == 1
        assert len(self.said(*first, *echo, *later)) == 2

    def test_a_model_fitted_anew_has_no_old_hints(self) -> None:
        monitor = Monitor()
        monitor._agreed([self.hint("rate", 0)])
        monitor.rebase("m")
        assert monitor._agreed([self.hint("prediction", 1)]) == []


class TestBaseline:
    def test_an_hour_much_seen_is_expected_to_be_as_it_was(self) -> None:
        baseline = Baseline()
        for hour in range(4 * WEEK_HOURS):
            baseline.add(hour, np.array([0.0, 5000.0 if hour % WEEK_HOURS == 30 else 500.0, 0.0]), 10_000)
        assert baseline.expected(30)[1] == pytest.approx(0.5, abs=0.05)
        assert baseline.expected(31)[1] == pytest.approx(0.05, abs=0.01)

    def test_an_hour_never_seen_is_expected_to_be_like_its_day_and_its_time_of_day(self) -> None:
        baseline = Baseline()
        for hour in range(WEEK_HOURS):
            if hour != 100:
                rate = 0.1 + 0.05 * (hour % 24 == 4) + 0.02 * ((hour + 72) // 24 % 7 == (100 + 72) // 24 % 7)
                baseline.add(hour, np.array([0.0, rate * 1e6, 0.0]), 1_000_000)
        assert baseline.expected(100)[1] == pytest.approx(0.17, abs=0.005)

    def test_what_is_long_ago_counts_less(self) -> None:
        baseline = Baseline()
        baseline.add(0, np.array([0.0, 1000.0, 0.0]), 1000)
        baseline.add(8 * WEEK_HOURS, np.array([0.0, 0.0, 0.0]), 1000)
        assert baseline.rate == pytest.approx(0.2)

    def test_nothing_known_expects_nothing(self) -> None:
        assert Baseline().expected(5).tolist() == [0, 0, 0]
        assert Baseline().rate == 0.0


class TestDistributions:
    def test_equal_blocks_of_the_week_are_compared(self) -> None:
        """A value that depends on the hour alone never moves; one that moves is found the week after."""
        for moved, least, most in ((0.0, 0.0, 0.2), (1.5, PSI_ACT, 99.0)):
            windows, rng, shifts = Windows(), np.random.default_rng(1), []
            for hour in range(2 * WEEK_HOURS + 1):
                for value in rng.normal(hour % 24 + moved * (hour >= WEEK_HOURS), 1, 60):
                    shifts += windows.add(hour, float(value), ())
            assert len(shifts) == 28
            assert all(least <= one.psi < most for one in shifts)
            assert all((one.ks_p < 1e-4) == bool(moved) for one in shifts)

    def test_the_reference_is_that_of_the_first_week_until_the_model_is_fitted_anew(self) -> None:
        windows, rng = Windows(), np.random.default_rng(2)

        def week(number: int, mean: float) -> list[float]:
            return [
                one.psi
                for hour in range(number * WEEK_HOURS, number * WEEK_HOURS + 7)
                for value in rng.normal(mean, 1, 60)
                for one in windows.add(hour, float(value), ())
            ]

        assert week(0, 0) == []
        assert week(1, 3)[0] > PSI_ACT
        windows.rebase()
        assert week(2, 3) == []
        assert week(3, 3)[0] < PSI_ACT

    def test_another_number_of_features_starts_again(self) -> None:
        windows = Windows()
        for hour in range(7):
            for _ in range(200):
                windows.add(hour, 0.5, (1.0, 2.0))
        assert windows.add(WEEK_HOURS + 6, 0.5, (1.0,)) == []
        assert msgspec.msgpack.decode(windows.pack_reference()) == {}

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 5000))
    def test_a_sample_is_evenly_thinned_and_bounded(self, count: int) -> None:
        sample = Sample()
        for number in range(count):
            if sample.wants():
                sample.add((float(number),))
        kept = sample.table()[:, 0]
        assert kept.tolist() == list(range(0, count, sample.stride))
        assert min(count, SAMPLE_ROWS) <= len(kept) < 2 * SAMPLE_ROWS

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.lists(st.integers(-3, 3), min_size=1, max_size=60))
    def test_psi_is_finite_never_negative_and_nothing_of_a_sample_with_itself(self, a: list[int], b: list[int]) -> None:
        left, right = np.array(a, np.float32), np.array(b, np.float32)
        assert 0 <= psi(left, right) < 1e3
        assert psi(left, left) == 0

    def test_psi_by_hand(self) -> None:
        """Ten bins of ten; the upper five empty in the second sample, whose rows all lie in the lower five."""
        before, after = np.arange(100, dtype=np.float32), np.repeat(np.arange(50, dtype=np.float32), 2)
        low, gone, was = (20 + 0.5) / 105, 0.5 / 105, (10 + 0.5) / 105
        expected = 5 * (low - was) * np.log(low / was) + 5 * (gone - was) * np.log(gone / was)
        assert psi(before, after) == pytest.approx(expected)

    def test_ks_is_scipys_times_the_number_of_columns_and_at_most_1(self) -> None:
        rng = np.random.default_rng(3)
        a, b = rng.normal(size=200).astype(np.float32), rng.normal(0.3, 1, size=200).astype(np.float32)
        assert shift(0, a, b, 5).ks_p == pytest.approx(min(1, 5 * ks_2samp(a, b, method="asymp").pvalue))
        assert shift(0, a, a, 5).ks_p == 1.0
        assert shift(0, a * 0, a * 0).ks_p == 1.0

    def test_features_that_warn_are_told_and_forgotten_when_they_calm_down(self) -> None:
        monitor, rng = Monitor(), np.random.default_rng(4)
        for week, mean in enumerate((0.0, 2.0, 0.0)):
            for hour in range(7):
                for value in rng.normal(mean, 1, 60):
                    at = MONDAY_MS + (week * WEEK_HOURS + hour) * HOUR_MS
                    monitor.observe(row(at, features=(float(value),)))
            assert [column for _, column in monitor.warnings] == (["feature 1"] if week == 1 else [])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400 * HOUR_MS), st.floats(0, 1), st.booleans(), st.sampled_from(["", "a", "b"])),
        max_size=120,
    )
)
def test_any_rows_in_any_order_are_taken(rows: list[tuple[int, float, bool, str]]) -> None:
    monitor = Monitor(Policy(watch=Watch(warm_up_hours=0)))
    for at, prediction, outcome, segment in rows:
        monitor.observe(Observed("m", (segment,), at, prediction, float(outcome), (prediction,)))
    assert _state(Monitor.restored(parts := monitor.changed()), parts) == parts


def test_a_stream_that_was_silent_for_years_goes_on() -> None:
    stream = ResidualStream(Watch())
    for hour in (0, 10, 10**6):
        for _ in range(30):
            if stream.add(hour, 0.1, 1.0, 0.1 * logit(0.9)):
                stream.cuts()
    assert np.isfinite(stream._baseline.expected(10**6)).all()
