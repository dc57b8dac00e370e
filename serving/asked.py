"""The first questions about a request: who asks, on which surface, and may the answer be personal. Consent comes first:
what is not allowed to be personal holds no profile and no name from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actors.profile import Glance
from events.consent import purposes_in
from events.errors import BadRequest
from events.ids import Key, Micros, Millis
from events.reasons import Unfit
from serving.answer import RecommendRequest
from serving.decision import PERSONAL, Consent
from training.surface import Surface, surface_named

PURPOSE = "personalization"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its first questions answered."""

    request: RecommendRequest
    who: Key | None
    """None for nobody, and without consent."""
    profile: Glance | None
    """None for a newcomer, for nobody, and without consent."""
    consent: Consent
    surface: Surface
    at: Micros
    """When: now, or the moment in the past that was asked for."""
    now: Millis
    """The same, as decayed values are read."""

    @property
    def stored_for(self) -> Key | None:
        """Whose stored answer a request id finds. A contextual answer is never somebody else's, nor the personal one
        given before consent was withdrawn; of this name a keyed hash is kept and nothing else."""
        key = self.request.key()
        return self.who if self.who is not None or key is None else Key(f"contextual:{key}")


def ask(
    request: RecommendRequest,
    profile: Glance | None,
    at: Micros,
    surfaces: Mapping[str, Surface],
    default_consent: bool,
) -> Asked:
    """Raises `BadRequest`, also for an unknown surface or an id that cannot be one."""
    surface = surface_named(surfaces, request.surface)
    consent = _consent(request, profile, default_consent)
    now = Millis(at // 1000)
    if consent not in PERSONAL:
        return Asked(request, None, None, consent, surface, at, now)
    return Asked(request, request.key(), profile, consent, surface, at, now)


def denied_by_request(request: RecommendRequest) -> bool:
    """Whether the request's own context says no; then the profile is not even read. A yes changes nothing: what was
    not consented to was never folded.

    Raises `BadRequest` for a consent object that cannot be read: a choice is never guessed.
    """
    if not request.context:
        return False
    try:
        return purposes_in(request.context).get(PURPOSE) is False
    except Unfit as error:
        raise BadRequest(str(error)) from None


def _consent(request: RecommendRequest, profile: Glance | None, default: bool) -> Consent:
    """The profile's consent layer is all that is looked at."""
    if request.key() is None:
        return "nobody"
    if denied_by_request(request):
        return "denied"
    choice = profile.consent.get(PURPOSE) if profile is not None else None
    if choice is not None:
        return "granted" if choice.granted else "denied"
    return "default" if default else "undecided"
