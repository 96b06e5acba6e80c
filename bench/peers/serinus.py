"""Serinus as it is measured: served with one model, and set up otherwise through its own API."""

import http.client
import json
import pickle
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers.models import Case

if TYPE_CHECKING:
    from bench.peers.catalogue import Seat

__all__ = ["NotOffered", "command", "form", "optimise", "split", "watch"]

_ENDPOINTS = "/api/2.0/serving-endpoints"
#: The first of a model that is converted builds an environment for it.
_WITHIN_S = 300.0
_POLL_S = 0.1


class NotOffered(Exception):
    """This Serinus has no such ability; the text is its answer."""


def command(seat: "Seat") -> list[str]:
    """`serinus serve` with the model, everything else as it comes."""
    serve = [str(seat.bin / "serinus"), "serve", "--port", str(seat.port)]
    home = str(seat.home / "home")
    return [*serve, "--home", home, "--name", "bench", "--model", str(seat.case.model.path)]


def split(port: int, case: Case, _: Path) -> None:
    """Two versions of the same model, 90 to 10."""
    _split(port, case.model.path)


def watch(port: int, case: Case, home: Path) -> None:
    """The same, of a model whose contract says what training saw: live values are counted."""
    watched = home / "watched"
    if not watched.exists():
        from sklearn.datasets import load_breast_cancer

        import serinus.contract

        beside = home / "watched.part"
        shutil.copytree(case.model.path, beside, dirs_exist_ok=True)
        features, target = load_breast_cancer(return_X_y=True, as_frame=True)
        fitted = pickle.loads(case.bare.read_bytes())  # noqa: S301 - written by us
        serinus.contract.capture(fitted, features, target, into=beside, say=lambda _: None)
        beside.rename(watched)
    _split(port, watched)


def _split(port: int, model: Path) -> None:
    entities = [{"name": name, "entity_name": str(model)} for name in ("one", "two")]
    routes = [
        {"served_model_name": name, "traffic_percentage": share}
        for name, share in (("one", 90), ("two", 10))
    ]
    _configure(port, {"served_entities": entities, "traffic_config": {"routes": routes}})


def optimise(port: int, case: Case, _: Path) -> None:
    """The model converted at deploy. Raises NotOffered where it is not, with what was said."""
    entity = {"name": "one", "entity_name": str(case.model.path), "optimize": "onnx"}
    _configure(port, {"served_entities": [entity]})
    # A server that does not know the field ignores it, and one that can't convert serves as it was.
    found, reason = form(port)
    if found != "onnx":
        raise NotOffered(f"served as {found or 'before'}: {reason}")


def form(port: int) -> tuple[str, str]:
    """How the first served entity asks its model, and why; empty where it says nothing of it."""
    state = _call(port, "GET", f"{_ENDPOINTS}/bench")["config"]["served_entities"][0]["state"]
    return state.get("form", ""), state.get("form_reason", "it says nothing of a form")


def _configure(port: int, config: dict[str, Any]) -> None:
    _call(port, "PUT", f"{_ENDPOINTS}/bench/config", config)
    give_up_at = time.monotonic() + _WITHIN_S
    while True:
        state = _call(port, "GET", f"{_ENDPOINTS}/bench")["state"]
        if state["config_update"] != "IN_PROGRESS":
            break
        if time.monotonic() > give_up_at:
            raise NotOffered(f"the update was not done in {_WITHIN_S:.0f} s")
        time.sleep(_POLL_S)
    if state["config_update"] != "NOT_UPDATING":
        raise NotOffered(f"the update ended as {state['config_update']}")


def _call(port: int, method: str, path: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise NotOffered(f"{method} {path}: {answer.status} {text[:300].decode(errors='replace')}")
    return json.loads(text)
