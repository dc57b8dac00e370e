"""Settings from file and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.sessions import SessionPolicy
from events.errors import BadSettings
from serving.settings import FILE, Settings


def load(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    (tmp_path / FILE).write_text(text)
    return Settings.load(tmp_path, environ)


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert Settings.load(tmp_path, {}) == Settings()


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "[server]\nport = 9000\nreplicas = 3", EVERFOLD_SERVER__PORT="9001")
    assert (settings.server.port, settings.server.replicas) == (9001, 3)


def test_a_surface_of_ones_own_takes_its_name_from_its_section(tmp_path: Path) -> None:
    settings = load(tmp_path, "[surfaces.checkout]\nrepeats = 'hide'\n[surfaces.checkout.weights]\npopularity = 1")
    assert settings.surfaces["checkout"].name == "checkout"
    assert settings.surfaces["checkout"].repeats == "hide"


def test_where_sessions_end_is_a_setting(tmp_path: Path) -> None:
    assert Settings().sessions.policy() == SessionPolicy()
    settings = load(tmp_path, "[sessions]\ntimeout_minutes = 0.5\nmidnight = true\nutc_offset_minutes = -300")
    assert settings.sessions.policy() == SessionPolicy(30_000, midnight=True, offset_ms=-18_000_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprt = 1", r"`server\.prt`: did you mean `port`"),
        ("[servr]\nport = 1", r"`servr`: did you mean `server`"),
        ("port = 1", r"`port`: did you mean `server\.port`"),
        ("[server]\nport = 'x'", r"`server\.port`.*integer"),
        ("[server]\nport = 70000", r"`server\.port`.*65535"),
        ("default_consent = false", r"`default_consent`: did you mean `consent\.default`"),
        ("server = 1", r"`server`"),
        ("[surfaces.a.weights]\npopularty = 1", r"`surfaces\.a\.weights\.popularty`.*did you mean `popularity`"),
        ("[surfaces.a]\nwieghts = {}", r"`surfaces\.a\.wieghts`: did you mean `weights`"),
        ("[surfaces.a]\nweights = {}\nvalues = {clik = 1}", r"`surfaces\.a\.values\.clik`: did you mean `click`"),
        ("[vocabulary.Sold]\nsignl = 'purchase'", "vocabulary 'Sold': unknown key 'signl'.*'signal'"),
        ("[[segments]]\nname = 'a'\nrul = 'did(view)'", r"`segments\.0\.rul`: did you mean `rule`"),
        ("[[segments]]\nname = 'a'\nrule = 'did(vew)'", r"`segments\.a`: position 4: .*did you mean 'view'"),
        ("[[segments]]\nname = 'a b'\nrule = 'did(view)'", "`segments`: segment 'a b': a name has"),
        ("[[segments]]\nname = 'a'\nrule = 'did(view)'\n" * 2, "there are two of the name a"),
        ("[surfaces.a]\nweights = {popularity = 1}\ntau = inf", r"`surfaces\.a\.tau`.*finite"),
        ("[surfaces.a]\nweights = {popularity = inf}", r"`surfaces\.a\.weights\.popularity`"),
        ("[surfaces.a]\nweights = {popularity = 1e308}", r"`surfaces\.a\.weights\.popularity`.*1000000"),
        (
            "[surfaces.a]\nweights = {popularity = 1}\nvalues = {click = 0, cart = 0, purchase = 0}",
            r"`surfaces\.a\.values`.*more than 0",
        ),
        ("[surfaces.a]\nname = 'b'\nweights = {popularity = 1}", r"\[surfaces\.a\] calls itself 'b'"),
        ("[retrain]\nshadow_hours = inf", r"`retrain\.shadow_hours`"),
        ("[segments]\nname = 'a'\nrule = 'did(view)'", "two brackets"),
        ("[server", "TOML"),
    ],
)
def test_a_wrong_setting_is_an_error_that_helps(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load(tmp_path, text)


def test_an_unknown_name_in_the_environment_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="EVERFOLD_SERVR__PORT: did you mean `EVERFOLD_SERVER__PORT`"):
        load(tmp_path, EVERFOLD_SERVR__PORT="1")


def test_the_secret_of_a_webhook_may_stand_in_the_environment(tmp_path: Path) -> None:
    text = '[webhooks.my-crm]\nurl = "https://crm.example/hook"'
    secret = "sixteen characters"
    settings = load(tmp_path, text, EVERFOLD_WEBHOOKS__MY_CRM__SECRET=secret, EVERFOLD_CONTENT_ALERTS__STRENGTH="3")
    assert settings.webhooks["my-crm"].secret.get_secret_value() == secret
    assert settings.content_alerts.strength == 3.0
    with pytest.raises(BadSettings, match="EVERFOLD_WEBHOOKS__CRM__SECRET"):
        load(tmp_path, text, EVERFOLD_WEBHOOKS__CRM__SECRET=secret)


def test_event_names_of_ones_own_have_meaning(tmp_path: Path) -> None:
    settings = load(tmp_path, '[vocabulary."Album Bought"]\nsignal = "purchase"\nitems = "album_id"')
    assert settings.event_vocabulary().meaning("album bought").signal == "purchase"


def test_limits_and_consent_reach_the_intake(tmp_path: Path) -> None:
    intake = load(tmp_path, "[consent]\ndefault = false\n[server]\nbody_bytes_max = 2048").intake()
    assert (intake.default_consent, intake.body_bytes_max) == (False, 2048)


def test_names_of_others_and_our_own_stamps_are_left_alone(tmp_path: Path) -> None:
    assert load(tmp_path, PATH="x", EVERFOLD_RUN="abc", EVERFOLD_REQUIRE="node") == Settings()


def test_a_temperature_nobody_can_estimate_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / "everfold.toml").write_text("[surfaces.own]\nweights = {popularity = 1.0}\ntau = 0.01\n")
    with pytest.raises(BadSettings, match=r"surfaces\.own\.tau.*at least 0\.05"):
        Settings.load(tmp_path, {})


def test_what_people_are_clustered_by_is_a_setting(tmp_path: Path) -> None:
    settings = load(
        tmp_path, "[clusters]\nk_min = 2\nk_max = 5\nfeatures = ['spent', 'count(view, 30 days)']\ntraits = []"
    )
    assert settings.clusters.features == ("spent", "count(view, 30 days)")
    assert settings.clusters.traits == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k_min = 9\nk_max = 5", "the first may not be more than the second"),
        ("features = ['spend']", "did you mean 'spent'"),
        ("features = ['segment(\"vip\")']", "asks about segments"),
        ("features = []", "1 to"),
        ("k_max = 1000", "k_max"),
    ],
)
def test_clusters_that_cannot_be_are_refused_where_settings_are_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load(tmp_path, f"[clusters]\n{text}")
