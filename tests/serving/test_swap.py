"""Models are swapped while lists are asked for: no answer fails, none mixes weights of one with tables of another."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
from artefacts import made
from grown_shop import grow
from service import Service, until

from training.blend import FEATURES
from training.inventory import INVENTORY
from training.learned import CONTEXT, OUTCOMES, Learned, SurfaceWeights

REQUESTS = 240
SWAPS = 6


def initial(number: int) -> Learned:
    names, outcomes = tuple(INVENTORY), len(OUTCOMES)
    rng = np.random.default_rng(number)
    weights = SurfaceWeights(
        intercept=np.full(outcomes, -3.0),
        recommenders=rng.random((outcomes, len(names) * len(FEATURES))),
        context=np.zeros((outcomes, len(CONTEXT))),
        hedge=np.full(len(names), 1.0 / len(names)),
    )
    return Learned(f"test-{number}", "", names, {"home": weights})


def artefact(service: Service, number: int) -> str:
    ease = {
        "place": np.arange(2, dtype=np.int32),
        "idx": np.array([[1], [0]], np.int32),
        "weight": np.full((2, 1), float(number), np.float32),
    }
    return made(service.data, number, table=ease, initial=initial(number))


def version(service: Service) -> str:
    return str(service.get("/v1/recommend?user_id=h1&n=5").json["model_version"])


def test_every_answer_is_of_one_model_and_none_fails(fresh: Service) -> None:
    grow(fresh, households=6, weeks=3)
    models = [artefact(fresh, number) for number in (1, 2)]
    seen: Counter[str] = Counter()
    failed: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set() or sum(seen.values()) < REQUESTS:
            answer = fresh.get(f"/v1/recommend?user_id=h{sum(seen.values()) % 6}&n=5")
            if answer.status != 200:
                failed.append(answer)
            seen[str(answer.json.get("model_version"))] += 1

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for number in range(SWAPS):
        model = models[number % 2]
        assert fresh.call("POST", f"/v1/models/{model}/promote").status == 200
        assert until(lambda model=model: f"-{model[:8]}-" in version(fresh)), "the swap never came"  # type: ignore[misc]
    done.set()
    for thread in asking:
        thread.join(60)
    assert not failed
    assert sum(seen.values()) >= REQUESTS
    learned = [name.split("-") for name in seen if name.startswith("learned-")]
    assert {artefact for _, artefact, _ in learned} == {model[:8] for model in models}
    assert len(learned) == 2, f"more pairs than models: {seen}"


def test_a_rejected_challenger_never_serves_one_request(fresh: Service) -> None:
    grow(fresh, households=6, weeks=3)
    good, rejected = artefact(fresh, 1), made(fresh.data, 9, "reject", initial=initial(9))
    assert fresh.call("POST", f"/v1/models/{good}/promote").status == 200
    assert until(lambda: good[:8] in version(fresh))
    assert fresh.call("POST", f"/v1/models/{rejected}/promote").status == 409
    assert all(good[:8] in version(fresh) for _ in range(20))


def test_an_artefact_damaged_after_its_promotion_is_refused_by_the_replica(fresh: Service) -> None:
    """Promoted whole, damaged before the replica loads it: the old pair stays."""
    grow(fresh, households=6, weeks=3)
    one, two = artefact(fresh, 1), artefact(fresh, 2)
    assert fresh.call("POST", f"/v1/models/{one}/promote").status == 200
    assert until(lambda: one[:8] in version(fresh))
    assert fresh.call("POST", f"/v1/models/{two}/promote").status == 200
    path = fresh.data / "models" / two / "ease.weight.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    assert until(lambda: _refused(fresh) > 0)
    assert one[:8] in version(fresh)


def _refused(service: Service) -> float:
    version(service)
    text = service.get("/metrics").body.decode()
    line = next(line for line in text.splitlines() if line.startswith("everfold_models_refused_total"))
    return float(line.split()[-1])
