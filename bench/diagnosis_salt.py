"""Case 65 on a running server: in the middle of a rollout, units are assigned by another salt.

Half of the units change sides, each way, while no weight does. What changes the salt is somebody
with access to the server's database.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from bench.diagnosis_server import Endpoint, Sent, Server
from bench.diagnosis_traffic import Drawn

__all__ = ["answered_by_two"]

#: Units, rows of a request, and seconds between two: fewer than replicas keep as evidence.
_UNITS, _ROWS, _PAUSE_S = 150, 8, 0.06
#: Rounds after the change; in the first one some requests still go the old way.
_AFTER = 2


def answered_by_two(endpoint: Endpoint, server: Server, candidate: Path, drawn: Drawn) -> Sent:
    """Stop a rollout half way, let every unit ask, change the salt, and let them ask again."""
    sent = Sent()
    endpoint.half_way(candidate)
    for at, body in enumerate(_bodies(drawn, 1 + _AFTER)):
        if at == _UNITS:
            server.salt(endpoint.name, "another")
        begun = time.monotonic()
        endpoint.send(body, "web", _ROWS, sent)
        time.sleep(max(0.0, _PAUSE_S - (time.monotonic() - begun)))
    return sent


def _bodies(drawn: Drawn, rounds: int) -> Iterator[bytes]:
    """A request of each unit, round by round."""
    rows = drawn.records
    for at in range(rounds * _UNITS):
        some = [rows[(at * _ROWS + each) % len(rows)] for each in range(_ROWS)]
        body = {"dataframe_records": some, "context": {"user_id": f"unit-{at % _UNITS}"}}
        yield json.dumps(body).encode()
