"""Where the server may listen: nowhere that others reach, unless callers are asked and nobody can
listen in.
"""

from pathlib import Path

import pytest

from serinus.server.supervisor import StartRefused, Supervisor
from serinus.server.tls import scheme
from serinus.settings import SettingsError, load_settings

TLS = {"tls_cert": "c.pem", "tls_key": "k.pem"}


def refusal(home: Path, **settings: object) -> str:
    """Why it does not start; empty when it is not for its door."""
    # A home that can't be made: whoever gets past the door ends there.
    (home / "file").touch()
    wanted = load_settings(None, {}, {"home": home / "file" / "home", **settings})
    with pytest.raises(StartRefused) as refused:
        Supervisor(wanted)
    text = str(refused.value)
    return "" if "home can't be used" in text else text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_on_loopback_nobody_need_be_asked(tmp_path: Path, host: str) -> None:
    assert refusal(tmp_path, host=host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "me.example"])
def test_elsewhere_it_takes_tokens_and_tls(tmp_path: Path, host: str) -> None:
    for more in ({}, {"behind_tls_proxy": True}, TLS):
        why = refusal(tmp_path, host=host, **more)
        assert host in why
        assert "--auth" in why
        assert "serinus token create" in why
    why = refusal(tmp_path, host=host, auth="required")
    assert "SERINUS_TLS_CERT" in why
    assert "--behind-tls-proxy" in why
    assert refusal(tmp_path, host=host, auth="required", behind_tls_proxy=True) == ""
    assert refusal(tmp_path, host=host, auth="required", **TLS) == ""


def test_urls_say_what_callers_speak(tmp_path: Path) -> None:
    known = {"home": tmp_path}
    assert scheme(load_settings(None, {}, known)) == "http"
    assert scheme(load_settings(None, {}, {**known, **TLS})) == "https"
    assert scheme(load_settings(None, {}, {**known, "behind_tls_proxy": True})) == "https"


def test_half_of_tls_is_none(tmp_path: Path) -> None:
    assert "SERINUS_TLS_KEY" in refusal(tmp_path, tls_cert="c.pem")


def test_what_is_neither_true_nor_false() -> None:
    for value in ("maybe", "", 2):
        with pytest.raises(SettingsError, match="neither true nor false"):
            load_settings(None, {}, {"behind_tls_proxy": value})
    assert load_settings(None, {"SERINUS_BEHIND_TLS_PROXY": "yes"}, {}).behind_tls_proxy


def test_a_certificate_that_is_none_is_found_at_the_start(tmp_path: Path) -> None:
    for name in TLS.values():
        (tmp_path / name).write_text("no certificate")
    files = {key: str(tmp_path / name) for key, name in TLS.items()}
    with pytest.raises(StartRefused, match="TLS can't be spoken"):
        Supervisor(load_settings(None, {}, {"home": tmp_path / "home", **files}))
