"""What a remote endpoint answers, in Serinus' words; and which URLs may be one."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serinus.engine.relay import Remote
from serinus.engine.remote import (
    RemoteOptions,
    check_remote,
    is_remote,
    remote_url,
    write_remote,
)
from serinus.errors import InvalidParameterValue
from serinus.replica.protocol import Format, Frame, Kind

URL = "https://models.example.com/serving-endpoints/flights/invocations"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
META = b"\0".join((b"caller", b"gw-1", PARENT.encode(), b"a=1"))
ROWS = b'{"inputs": [1]}'

Handler = Callable[[httpx.Request], httpx.Response]


def asked(
    handler: Handler, options: RemoteOptions | None = None, *, format_: Format = Format.JSON
) -> tuple[int, bytes]:
    async def ask() -> tuple[int, bytes]:
        remote = Remote(URL, options or RemoteOptions(), httpx.MockTransport(handler))
        frame = Frame(Kind.REQUEST, 1, ROWS, META, format_)
        try:
            return await remote.ask(frame)
        finally:
            await remote.close()

    return asyncio.run(ask())


def test_a_request_is_passed_on_with_token_and_id_and_its_answer_comes_back_as_it_is() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"predictions": [1.5]})

    assert asked(handler, RemoteOptions(token="dapi-1")) == (200, b'{"predictions":[1.5]}')
    [request] = seen
    assert (request.method, str(request.url), request.content) == ("POST", URL, ROWS)
    assert request.headers["authorization"] == "Bearer dapi-1"
    assert request.headers["x-request-id"] == "gw-1"
    assert request.headers["traceparent"] == PARENT
    assert request.headers["tracestate"] == "a=1"
    assert request.headers["content-type"] == "application/json"


def test_csv_goes_on_as_csv() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"predictions": [request.headers["content-type"]]})

    assert asked(handler, format_=Format.CSV)[1] == b'{"predictions":["text/csv"]}'


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_refusal_never_shows_our_token(status: int) -> None:
    told = f"{'x ' * 243}the token dapi-0123456789 is not known"
    _, body = asked(
        lambda _: httpx.Response(status, json={"message": told}),
        RemoteOptions(token="dapi-0123456789"),
    )
    assert "*" in json.loads(body)["message"]
    assert b"dapi" not in body


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (400, 400, "BAD_REQUEST"),
        (422, 400, "BAD_REQUEST"),
        (401, 500, "INTERNAL_ERROR"),
        (404, 500, "INTERNAL_ERROR"),
        (302, 500, "INTERNAL_ERROR"),
        (429, 429, "RESOURCE_EXHAUSTED"),
        (500, 500, "INTERNAL_ERROR"),
        (503, 503, "TEMPORARILY_UNAVAILABLE"),
        (504, 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_refusal_keeps_its_reason_and_gets_a_status_that_clients_understand(
    status: int, told: int, code: str
) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            status, json={"message": "no such column"}, headers={"location": "http://10.0.0.1/"}
        )

    found, body = asked(handler)
    error = json.loads(body)
    assert (found, error["error_code"]) == (told, code)
    assert "redirect" in error["message"] if status == 302 else "no such" in error["message"]


def test_what_could_not_connect_is_tried_again_and_what_was_sent_is_not() -> None:
    tries: list[type[Exception]] = []

    def failing(kind: type[httpx.TransportError]) -> Handler:
        def handler(_: httpx.Request) -> httpx.Response:
            tries.append(kind)
            raise kind("gone")

        return handler

    status, body = asked(failing(httpx.ConnectError), RemoteOptions(retries=2))
    assert (status, len(tries)) == (503, 3)
    assert "models.example.com" in json.loads(body)["message"]
    tries.clear()
    assert asked(failing(httpx.ReadError), RemoteOptions(retries=2))[0] == 503
    assert len(tries) == 1


def test_an_answer_that_is_no_json_is_refused() -> None:
    status, body = asked(lambda _: httpx.Response(200, text="<html>"))
    assert status == 500
    assert b"not with JSON" in body


def test_the_deadline_ends_the_wait() -> None:
    async def slow() -> tuple[int, bytes]:
        async def handler(_: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        remote = Remote(URL, RemoteOptions(), httpx.MockTransport(handler))
        return await remote.ask(Frame(Kind.REQUEST, 1, ROWS, format=Format.JSON, aux=20))

    status, body = asyncio.run(slow())
    assert status == 504
    assert b"0.02 s" in body


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://other.example.com/x", "SERINUS_REMOTE_HOSTS=other.example.com:443"),
        ("https://models.example.com:8443/x", "SERINUS_REMOTE_HOSTS"),
        ("https://models.example.com.evil.com/x", "SERINUS_REMOTE_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", "SERINUS_REMOTE_HOSTS"),
        ("http://[::1]/x", "SERINUS_REMOTE_HOSTS"),
        ("https://user:secret@models.example.com/x", "password"),
        ("https://models.example.com@evil.com/x", "password"),
        ("https://models.example.com/x#y", "character"),
        ("https://models.example.com/x y", "character"),
        ("https://models.example.com\\@evil.com/x", "password"),
        ("https:///x", "no host"),
        ("https://models.example.com:99999/x", "no port"),
    ],
)
def test_only_plain_urls_of_listed_hosts_are_called(url: str, why: str) -> None:
    with pytest.raises(InvalidParameterValue, match=why):
        check_remote(url, ["models.example.com:443", "127.0.0.1"])


def test_a_listed_host_may_be_called_at_its_port_or_at_any() -> None:
    assert check_remote(URL, ["Models.example.com:443"]) == URL
    assert check_remote("http://127.0.0.1:5001/invocations", ["127.0.0.1"])


def test_a_url_is_kept_as_a_model_directory_and_no_model_is_taken_for_one(tmp_path: Path) -> None:
    assert is_remote(URL)
    assert not is_remote("models:/m/1")
    assert remote_url(write_remote(URL, tmp_path)) == URL
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  serinus_remote: {url: 'http://a'}\n  python_function: {}\n"
    )
    assert remote_url(tmp_path) is None


@pytest.mark.parametrize(
    "environ", [{"REMOTE_DEADLINE": "soon"}, {"REMOTE_RETRIES": "99"}, {"REMOTE_DEADLINE": "-1"}]
)
def test_a_bad_option_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterValue, match=next(iter(environ))):
        RemoteOptions.from_environ(environ)


def test_options_come_from_the_variables_of_the_served_entity() -> None:
    found = RemoteOptions.from_environ(
        {"REMOTE_DEADLINE": "2s", "REMOTE_RETRIES": "0", "REMOTE_TOKEN": "t"}
    )
    assert found == RemoteOptions(2.0, 0, "t")
