"""Asking for items over HTTP."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from service import Answered as Reply
from service import Service, bought, viewed

from events.ids import user_key
from serving.answered import Answered
from serving.decision import request_hash
from serving.decisions import SPOOL_FOLDER

ITEMS: list[dict[str, object]] = [
    {"item_id": f"{kind}-{n}", "title": f"{kind.title()} {n}", "category": f"Food > {kind.title()}", "price": n + 0.5}
    for kind in ("chips", "dip", "milk", "bread")
    for n in range(6)
]


@pytest.fixture(scope="module")
def shop(service: Service) -> Service:
    """Chips and dip go together."""
    service.add_items(*ITEMS)
    baskets = [bought(f"crowd-{n}", f"chips-{n % 6}", f"dip-{n % 6}") for n in range(60)]
    baskets += [bought(f"crowd-{n}", f"milk-{n % 6}", f"bread-{n % 6}") for n in range(60, 120)]
    service.send(*baskets)
    service.settle()
    return service


def items(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def ask(shop: Service, **question: object) -> dict[str, Any]:
    answer = shop.call("POST", "/v1/recommend", question)
    assert answer.status == 200, answer
    return answer.json


def test_an_answer_has_its_promised_shape(shop: Service) -> None:
    answer = ask(shop, user_id="shape", n=4)
    assert set(answer) == {
        *("recommendation_id", "user_id", "items", "surface", "model_version", "profile_version", "as_of", "logged"),
    }
    assert answer["user_id"] == "shape"
    assert answer["logged"] is True
    assert len(answer["items"]) == 4
    for item in answer["items"]:
        assert set(item) == {"item_id", "score", "sources", "reason", "propensity"}
        assert 0 < item["propensity"] <= 1


def test_get_and_post_ask_the_same(shop: Service) -> None:
    shop.send(viewed("same", "chips-1"))
    shop.settle()
    posted = ask(shop, user_id="same", n=5, surface="product", items=["milk-1", "milk-2"], exclude=["bread-1"])
    asked = shop.get("/v1/recommend?user_id=same&n=5&surface=product&items=milk-1,milk-2&exclude=bread-1").json
    assert asked["items"] == posted["items"]


def test_a_click_changes_the_next_answer(shop: Service) -> None:
    before = ask(shop, user_id="clicker", n=6)
    token = shop.send(viewed("clicker", "chips-3"))
    after = ask(shop, user_id="clicker", n=6, after=token)
    assert items(after) != items(before)
    assert any(item.startswith("dip") for item in items(after))
    assert after["profile_version"] == 1


def test_without_a_new_fact_the_list_stays(shop: Service) -> None:
    shop.send(viewed("stays", "milk-3"))
    shop.settle()
    assert items(ask(shop, user_id="stays")) == items(ask(shop, user_id="stays"))


def test_exclude_category_and_n_are_obeyed(shop: Service) -> None:
    everything = items(ask(shop, n=20))
    assert len(everything) > 5
    without = items(ask(shop, n=20, exclude=everything[:2]))
    assert not set(without) & set(everything[:2])
    assert all(item.startswith("dip") for item in items(ask(shop, n=3, category="Food > Dip")))


def test_a_request_id_gets_its_stored_answer_again(shop: Service) -> None:
    first = ask(shop, user_id="again", request_id="r-1")
    token = shop.send(viewed("again", "chips-1"))
    assert ask(shop, user_id="again", request_id="r-1", after=token) == first
    assert ask(shop, user_id="again", request_id="r-2", after=token) != first


def test_a_request_id_never_brings_the_answer_of_somebody_else_nor_one_from_before_a_withdrawal(shop: Service) -> None:
    shop.send(viewed("willing", "chips-1"))
    shop.settle()
    no = {"consent": {"categoryPreferences": {"personalization": False}}}
    personal = ask(shop, user_id="willing", request_id="page-1")
    withdrawn = ask(shop, user_id="willing", request_id="page-1", context=no)
    other = ask(shop, user_id="unwilling", request_id="page-1", context=no)
    assert len({answer["recommendation_id"] for answer in (personal, withdrawn, other)}) == 3
    assert (personal["profile_version"], withdrawn["profile_version"]) == (1, None)
    assert ask(shop, user_id="unwilling", request_id="page-1", context=no) == other


def test_a_request_that_another_replica_is_answering_is_waited_for(shop: Service) -> None:
    replica = shop.embedded.replica
    name = request_hash(replica.store.secrets.decisions, user_key("busy"), "r-9")
    other = Answered(replica.store.path / SPOOL_FOLDER, replica.decisions)
    answers: list[Reply] = []
    asking = threading.Thread(target=lambda: answers.append(shop.get("/v1/recommend?user_id=busy&request_id=r-9")))
    with other.claim(name):
        gone_on = shop.get("/v1/recommend?user_id=busy&request_id=r-9")
        assert (gone_on.status, gone_on.json["code"]) == (503, "being_answered")
        asking.start()
        assert shop.get("/healthz").status == 200, "nobody else waits"
    asking.join()
    assert [answer.status for answer in answers] == [200]
    other.close()


def test_as_of_answers_from_the_past_and_logs_nothing(shop: Service) -> None:
    shop.send(viewed("past", "chips-1"))
    then = ask(shop, user_id="past")
    shop.send(viewed("past", "milk-1"), viewed("past", "milk-2"))
    shop.settle()
    rewound = ask(shop, user_id="past", as_of=then["as_of"])
    assert rewound["approximate"] is True
    assert rewound["logged"] is False
    assert rewound["recommendation_id"] is None
    assert rewound["profile_version"] == then["profile_version"] == 1
    assert items(rewound) == items(ask(shop, user_id="past", as_of=then["as_of"]))
    assert items(rewound) != items(ask(shop, user_id="past"))


def test_asking_changes_nothing(shop: Service) -> None:
    shop.send(viewed("asked", "chips-1"))
    before = shop.get("/v1/profiles/asked").json
    for surface in ("home", "buy_again", "discover", "product", "cart"):
        ask(shop, user_id="asked", surface=surface, items=["milk-1"], test=True)
    after = shop.get("/v1/profiles/asked").json
    assert after["version"] == before["version"]


def test_what_was_answered_can_be_explained(shop: Service) -> None:
    answer = ask(shop, user_id="why", n=3, surface="product", items=["chips-1"], context={"page": "p"})
    told = shop.get(f"/v1/recommendations/{answer['recommendation_id']}").json
    answered = told["answered"]
    assert isinstance(answered, list)
    assert [one["item_id"] for one in answered] == items(answer)
    assert told["surface"] == "product"
    assert told["items"] == ["chips-1"]
    assert told["context"] == {"page": "p"}
    assert told["model_version"] == answer["model_version"]


def test_an_explanation_survives_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Service(data) as service:
        service.add_items(*ITEMS)
        answer = ask(service, user_id="restart", n=3, request_id="r")
    with Service(data) as service:
        told = service.get(f"/v1/recommendations/{answer['recommendation_id']}").json
        assert len(told["answered"]) == 3  # type: ignore[arg-type]
        assert ask(service, user_id="restart", n=3, request_id="r") == answer


def test_unknown_recommendations_are_not_found(shop: Service) -> None:
    answer = ask(shop, user_id="missing")
    known = answer["recommendation_id"]
    assert shop.get(f"/v1/recommendations/{known[:-4]}aaaa").status == 404
    for nonsense in ("x", "r" * 27, "r" + "é" * 26):
        assert shop.get(f"/v1/recommendations/{nonsense.encode().hex()}").status in (400, 404)


def test_rank_orders_what_the_caller_brings(shop: Service) -> None:
    shop.send(viewed("ranker", "chips-1"))
    answer = shop.call("POST", "/v1/rank", {"user_id": "ranker", "candidates": ["milk-1", "dip-1", "bread-2"]}).json
    assert sorted(items(answer)) == ["bread-2", "dip-1", "milk-1"]
    assert items(answer)[0] == "dip-1"


def test_similar_and_popular_name_known_items(shop: Service) -> None:
    similar = shop.get("/v1/similar/chips-1?n=3").json
    assert items(similar)[0].startswith("dip")
    assert shop.get("/v1/similar/chips-1?by=content&details=true").status == 200
    assert shop.get("/v1/similar/unheard-of").status == 404
    popular = items(shop.get("/v1/popular?n=5&category=Food%20%3E%20Milk").json)
    assert len(popular) == 5
    assert all(item.startswith("milk") for item in popular)
    assert shop.get("/v1/popular?category=Nowhere").status == 404


def test_details_bring_the_catalogue_entry(shop: Service) -> None:
    first = ask(shop, n=1, details=True)["items"][0]
    assert first["item"]["title"]
    assert shop.get("/v1/recommend?n=1&details=true").json["items"][0]["item"] == first["item"]  # type: ignore[index]


def test_nobody_in_particular_gets_an_answer(shop: Service) -> None:
    answer = ask(shop, n=3)
    assert answer["user_id"] is None
    assert answer["profile_version"] is None
    assert len(answer["items"]) == 3


def test_the_slate_is_drawn_again_from_its_record(shop: Service) -> None:
    answer = ask(shop, user_id="again", n=6)
    record = shop.get(f"/v1/recommendations/{answer['recommendation_id']}").json
    assert record["recomputed"] == {"identical": True}
    assert [one["item_id"] for one in record["answered"]] == items(answer)
    assert [one["propensity"] for one in record["answered"]] == [item["propensity"] for item in answer["items"]]
    assert items(ask(shop, user_id="again", n=6)) == items(answer)


def gains(shop: Service, answer: dict[str, Any]) -> object:
    """What the slots were drawn by: the same for everybody an answer knows nothing of, whatever chance made of it."""
    return shop.get(f"/v1/recommendations/{answer['recommendation_id']}").json["candidates"]


def test_without_consent_the_answer_is_not_personal(shop: Service) -> None:
    consent = {"consent": {"categoryPreferences": {"personalization": False}}}
    token = shop.send({**viewed("no", "chips-1"), "context": consent}, viewed("no", "chips-2"))
    shop.settle()
    answer = ask(shop, user_id="no", after=token)
    assert answer["profile_version"] is None
    assert gains(shop, answer) == gains(shop, ask(shop))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("srface=home", "srface`: did you mean `surface"),
        ("surface=nowhere", "nowhere"),
        ("n=0", "n"),
        ("n=many", "n"),
        ("n=100000", "n"),
        ("test=perhaps", "test"),
        ("context=%7B", "context"),
        ("as_of=garbage", "as_of"),
        ("as_of=1700000000", "seconds"),
        ("as_of=9999-01-01", "future"),
        ("after=garbage", "after"),
        ("user_id=" + "x" * 10_000, "256"),
        ("user_id=%00", "NUL"),
        ("user_id=%ff", "UTF-8"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(shop: Service, query: str, said: str) -> None:
    answer = shop.get(f"/v1/recommend?{query}")
    assert answer.status == 400
    assert said in str(answer.json["message"])


def test_a_token_of_another_store_is_refused(shop: Service, tmp_path: Path) -> None:
    from serving.token import Token

    far = Token.of([(0, 10**9)]).text()
    strange = Token.of([(999, 1)]).text()
    assert shop.get(f"/v1/recommend?after={strange}").status == 400
    answer = shop.get(f"/v1/recommend?after={far}")
    assert (answer.status, answer.json["code"]) == (503, "not_yet")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("bad", ["x" * 10_000, "a\x00b", ""], ids=["overlong", "nul", "empty"])
def test_an_item_id_that_cannot_be_one_is_refused_wherever_a_question_names_it(shop: Service, bad: str) -> None:
    for path, field in (("recommend", "items"), ("recommend", "exclude"), ("rank", "candidates")):
        answer = shop.call("POST", f"/v1/{path}", {"anonymous_id": "asker", field: [bad]})
        assert (answer.status, answer.json["code"]) == (400, "bad_id"), (field, answer)
