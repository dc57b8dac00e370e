"""How people look at a list, and what it is then worth: three ways to look, each with its expected clicks in closed
form.

- *position*: slot k is looked at with chance 1 / k^eta, whatever stands above it (Craswell, Zoeter, Taylor, Ramsey: An
  experimental comparison of click position-bias models, WSDM 2008);
- *cascade*: from the top, on with a chance that depends on whether the item was clicked (the dependent click model:
  Guo, Liu, Wang: Efficient multiple-click models in web search, WSDM 2009, with one chance for all slots);
- *trust*: as position, but who looks may also click what is irrelevant, the more so the higher it stands (Agarwal et
  al.: Addressing trust bias for unbiased learning-to-rank, WWW 2019).
"""

from __future__ import annotations

import numpy as np

from simulate.chance import Floats, Words, uniforms
from simulate.world_spec import WorldSpec

_LOOK, _CLICK = 0x4C4F4F4B, 0x434C4943


def looked_at(spec: WorldSpec, slots: int) -> Floats:
    """Chance that slot 1..slots is looked at, where it does not depend on what stands above."""
    chance: Floats = np.arange(1, slots + 1, dtype=np.float64) ** -spec.eta
    return chance


def click_given_look(spec: WorldSpec, likes: Floats) -> Floats:
    """Chance of a click on slot k by somebody who looks at it; ``likes``: chance to like it, by slot."""
    if spec.attention != "trust":
        return likes
    slot = np.arange(1, len(likes) + 1)
    chance: Floats = likes * spec.trust / slot**0.2 + (1 - likes) * spec.trust_false / slot
    return chance


def expected_clicks(spec: WorldSpec, likes: Floats) -> float:
    """Of a list whose slots are liked with these chances."""
    if spec.attention != "cascade":
        return float(looked_at(spec, len(likes)) @ click_given_look(spec, likes))
    going = 1.0
    total = 0.0
    for like in likes.tolist():
        total += going * like
        going *= (1 - like) * spec.patience + like * spec.patience_clicked
    return total


def clicked(spec: WorldSpec, likes: Floats, visit: int, names: Words) -> Looked:
    """What happens, as a function of the visit's key and the items' words."""
    luck = uniforms(visit ^ _CLICK, names)
    if spec.attention != "cascade":
        chance = looked_at(spec, len(likes)) * click_given_look(spec, likes)
        return len(likes), np.flatnonzero(luck < chance).tolist()
    on = uniforms(visit ^ _LOOK, np.arange(len(likes), dtype=np.uint64))
    clicks: list[int] = []
    for slot, like in enumerate(likes.tolist()):
        click = bool(luck[slot] < like)
        if click:
            clicks.append(slot)
        if on[slot] >= (spec.patience_clicked if click else spec.patience):
            return slot + 1, clicks
    return len(likes), clicks


Looked = tuple[int, list[int]]
"""(slots that came into view, slots that were clicked from 0)."""
