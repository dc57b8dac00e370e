"""Three ways to write consent, one set of purposes."""

from __future__ import annotations

import pytest

from events.consent import PURPOSES, purposes_in
from events.reasons import Unfit


def test_no_consent_object_decides_nothing() -> None:
    assert purposes_in({}) == {}
    assert purposes_in({"consent": None, "consentManagement": None}) == {}


def test_segments_category_preferences_are_purposes() -> None:
    context = {"consent": {"categoryPreferences": {"Advertising": False, "Analytics": True, "Functional": True}}}
    assert purposes_in(context) == {"advertising": False, "measurement": True, "personalization": True}


def test_an_empty_preferences_object_denies_everything_we_decide_by() -> None:
    assert purposes_in({"consent": {"categoryPreferences": {}}}) == dict.fromkeys(PURPOSES, False)


def test_google_consent_mode_names_are_understood() -> None:
    context = {
        "consent": {
            "ad_storage": "denied",
            "analytics_storage": "granted",
            "personalization_storage": "denied",
            "provider": "a banner",
        }
    }
    assert purposes_in(context) == {"advertising": False, "measurement": True, "personalization": False}


def test_rudderstack_names_allowed_and_denied_ids() -> None:
    context = {
        "consentManagement": {
            "provider": "oneTrust",
            "allowedConsentIds": ["C0001", "C0003"],
            "deniedConsentIds": ["C0004"],
            "resolutionStrategy": "and",
        }
    }
    assert purposes_in(context) == {"C0001": True, "personalization": True, "advertising": False}


def test_rudderstacks_onetrust_object_of_labels_is_understood() -> None:
    assert purposes_in({"consentManagement": {"allowedConsentIds": {"C0002": "Performance"}}}) == {"measurement": True}


def test_several_categories_of_one_purpose_are_granted_only_together() -> None:
    for first, second in (("granted", "denied"), ("denied", "granted")):
        context = {"consent": {"categoryPreferences": {"ad_storage": first, "ad_user_data": second}}}
        assert purposes_in(context) == {"advertising": False}


def test_a_category_we_do_not_know_keeps_its_name() -> None:
    assert purposes_in({"consent": {"categoryPreferences": {"our newsletter": True}}}) == {"our newsletter": True}


@pytest.mark.parametrize(
    "context",
    [
        {"consent": True},
        {"consent": []},
        {"consent": {"categoryPreferences": []}},
        {"consent": {"categoryPreferences": {"Advertising": "perhaps"}}},
        {"consent": {"categoryPreferences": {"Advertising": 1}}},
        {"consent": {"categoryPreferences": {f"c{n}": True for n in range(1_000)}}},
        {"consent": {"categoryPreferences": {"c" * 10_000: True}}},
        {"consentManagement": "all"},
        {"consentManagement": {"allowedConsentIds": [1]}},
        {"consentManagement": {"deniedConsentIds": "C0004"}},
    ],
)
def test_a_choice_that_cannot_be_read_is_never_taken_for_consent(context: dict[str, object]) -> None:
    with pytest.raises(Unfit) as unfit:
        purposes_in(context)
    assert unfit.value.reason == "bad_consent"
