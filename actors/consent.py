"""Consent as the fold sees it: decisions per purpose, and what they do to the profile.

A decision comes with any fact (``context.consent``), as a fact of its own (`Consented`), or by Global Privacy Control,
which denies `sale_share` and nothing else. Within one fact the explicit choice wins over GPC, and GPC over the context.
Across facts the newest by (event time, event id) wins, in whatever order they arrive.

Only `personalization` changes what is folded:

- Denied, or undecided where the store's default is no: consent, ids and version change, nothing else.
- A withdrawal clears every layer, and facts from before it stay out even when they arrive later.
- A new grant starts afresh: facts from before it stay out.

Here the order of arrival matters, by necessity, as sums cannot be unfolded. A denial that is the newest decision clears
everything, even what happened after it and arrived before it. A late denial, older than the newest grant, clears
everything if the layers hold a fact from before it, and nothing otherwise. So no order keeps a fact from before the
latest withdrawal, and all orders keep at most what was told; the log has the rest.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from actors.profile import (
    PERSONALIZATION,
    PURPOSES_MAX,
    SALE_SHARE,
    Choice,
    Profile,
    allowed,
)
from actors.registers import Moment, newest_of, wins
from events.types import Consented, Event, Meta

PURPOSE_CHARS_MAX: Final = 128
"""Longer purposes are kept in the log and not folded."""


def decide(profile: Profile, moment: Moment, meta: Meta, event: Event) -> Profile:
    """The profile after the decisions that ``meta`` and ``event`` carry."""
    choices = _choices(moment, meta, event)
    consent = profile.consent.copy()
    for purpose, choice in choices.items():
        if wins(choice, consent.get(purpose)):
            consent[purpose] = choice
    after = replace(profile, consent=_bounded(consent))
    about = choices.get(PERSONALIZATION)
    if about is None:
        return after
    return _granted(profile, after, about.at) if about.granted else _withdrawn(after, about.at)


def _choices(moment: Moment, meta: Meta, event: Event) -> dict[str, Choice]:
    choices = {purpose: Choice(granted, *moment, "context") for purpose, granted in meta.consent.items()}
    if meta.gpc:
        choices[SALE_SHARE] = Choice(False, *moment, "gpc")
    if isinstance(event, Consented):
        source = event.source[:64] or "choice"
        choices |= {purpose: Choice(granted, *moment, source) for purpose, granted in event.purposes.items()}
    return {purpose: choice for purpose, choice in choices.items() if len(purpose) <= PURPOSE_CHARS_MAX}


def _bounded(consent: dict[str, Choice]) -> dict[str, Choice]:
    """The newest purposes; the two that mean something here never give way to invented ones."""
    if len(consent) <= PURPOSES_MAX:
        return consent
    ours = {purpose: consent[purpose] for purpose in (PERSONALIZATION, SALE_SHARE) if purpose in consent}
    others = {purpose: choice for purpose, choice in consent.items() if purpose not in ours}
    return ours | newest_of(others, PURPOSES_MAX - len(ours))


def _granted(before: Profile, after: Profile, at: int) -> Profile:
    resumed = allowed(after) and not allowed(before)
    return replace(after, since=max(after.since, at)) if resumed else after


def _withdrawn(after: Profile, at: int) -> Profile:
    holds_older = after.first_at is not None and after.first_at <= at
    kept = cleared(after) if holds_older or not allowed(after) else after
    return replace(kept, since=max(after.since, at + 1))


def cleared(profile: Profile) -> Profile:
    """Only who it is and what was decided; every layer empty."""
    return Profile(
        version=profile.version,
        lsn=profile.lsn,
        subject=profile.subject,
        user_id=profile.user_id,
        anonymous=profile.anonymous,
        previous=profile.previous,
        default_consent=profile.default_consent,
        consent=profile.consent,
        since=profile.since,
    )
