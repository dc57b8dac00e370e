"""Consent decides what is folded."""

from __future__ import annotations

import random

from fold_facts import DAY, NOW, Fact, fact, folded, interaction
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.consent import cleared
from actors.profile import EMPTY, PURPOSES_MAX, Profile, allowed, encode
from events.types import Consented, Event, Identified, Impression

GRANT, DENY = {"personalization": True}, {"personalization": False}


def is_blank(profile: Profile) -> bool:
    """Whether no layer holds anything."""
    return encode(profile) == encode(cleared(profile))


def viewed(number: int, item: str, at: int, **meta: object) -> Fact:
    return fact(number, interaction("view", item), at, **meta)


def items(profile: Profile) -> list[str]:
    return [entry.item for entry in profile.recent]


def test_nothing_is_folded_once_denied_but_the_facts_are_numbered_and_the_ids_kept() -> None:
    profile = folded(
        [
            fact(1, Consented(DENY, "banner"), NOW),
            viewed(2, "x", NOW + 1, anonymous_id="b"),
            fact(3, Identified({"a": 1}), NOW + 2),
        ]
    )
    assert is_blank(profile)
    assert (profile.version, profile.lsn, profile.anonymous_ids) == (3, 3, ("b",))
    assert not allowed(profile)
    assert profile.consent["personalization"].source == "banner"


def test_a_withdrawal_clears_every_layer() -> None:
    before = folded([viewed(1, "x", NOW), fact(2, Impression(("y",)), NOW), fact(3, Identified({"a": 1}), NOW)])
    assert not is_blank(before)
    after = folded([fact(4, Consented(DENY), NOW + 1)], before)
    assert is_blank(after)
    assert after.first_at is None


def test_a_new_grant_starts_afresh_and_lets_nothing_late_in() -> None:
    facts = [
        viewed(1, "before", NOW),
        fact(2, Consented(DENY), NOW + 10),
        fact(3, Consented(GRANT), NOW + 20),
        viewed(4, "after", NOW + 21),
        viewed(5, "late, before the denial", NOW + 5),
        viewed(6, "late, while denied", NOW + 15),
    ]
    assert items(folded(facts)) == ["after"]


def test_a_choice_that_comes_with_a_fact_counts_before_the_fact() -> None:
    assert is_blank(folded([viewed(1, "x", NOW, consent=DENY)]))
    undecided = folded([viewed(1, "x", NOW, default_consent=False)])
    assert is_blank(undecided)
    assert not allowed(undecided)
    granted = folded([viewed(2, "y", NOW + 1, default_consent=False, consent=GRANT)], undecided)
    assert items(granted) == ["y"]
    assert items(folded([viewed(3, "late", NOW, default_consent=False)], granted)) == ["y"]


def test_the_newest_choice_wins_in_whatever_order_it_arrives() -> None:
    facts = [fact(n, Consented({"personalization": n % 2 == 0, "ads": n < 3}), NOW + n) for n in range(6)]
    forward, backward = folded(facts), folded(reversed(facts))
    assert forward.consent == backward.consent
    assert not allowed(forward)


def test_gpc_denies_sale_and_sharing_only_until_a_newer_explicit_choice() -> None:
    profile = folded([viewed(1, "x", NOW, gpc=True, consent={"sale_share": True})])
    assert not allowed(profile, "sale_share")
    assert items(profile) == ["x"]
    chosen = folded([fact(2, Consented({"sale_share": True}), NOW + 1, gpc=True)], profile)
    assert allowed(chosen, "sale_share")


def test_an_undecided_purpose_follows_the_default() -> None:
    assert allowed(EMPTY, "ads")
    assert not allowed(EMPTY, "ads", default=False)


def test_a_flood_of_purposes_cannot_push_out_a_denial() -> None:
    flood = [fact(n, Consented({f"p{n}": True}), NOW + n) for n in range(2, 200)]
    profile = folded([fact(1, Consented(DENY), NOW), *flood])
    assert len(profile.consent) == PURPOSES_MAX
    assert not allowed(profile)


def test_a_late_denial_older_than_the_grant_clears_only_what_it_is_about() -> None:
    granted = [fact(1, Consented(GRANT), NOW), viewed(2, "x", NOW + DAY)]
    assert items(folded([*granted, fact(3, Consented(DENY), NOW - DAY)])) == ["x"]
    older = [viewed(0, "old", NOW - 2 * DAY), *granted, fact(3, Consented(DENY), NOW - DAY)]
    assert is_blank(folded(older))


EVENTS = st.one_of(
    st.builds(lambda n: interaction("purchase", f"item{n}"), st.integers(0, 5)),
    st.builds(lambda n: Impression((f"item{n}",)), st.integers(0, 5)),
    st.builds(Consented, st.sampled_from([GRANT, DENY, DENY])),
)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 30)), max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_no_order_of_arrival_keeps_a_fact_from_before_the_latest_withdrawal(
    told: list[tuple[Event, int]], rng: random.Random
) -> None:
    facts = [fact(n, event, NOW + at) for n, (event, at) in enumerate(told)]
    profile = folded(rng.sample(facts, len(facts)))
    denials = [
        each.event_time
        for each in facts
        if isinstance(each.payload.event, Consented) and not each.payload.event.purposes["personalization"]
    ]
    withdrawn = max(denials, default=NOW - 1)
    kept = [entry.at for entry in profile.recent] + list(profile.impressions.last.values())
    kept += [at for purchase in profile.purchases.values() for at in purchase.times]
    assert all(at > withdrawn for at in kept)
    assert allowed(profile) or is_blank(profile)
