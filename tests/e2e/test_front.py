"""The front of a real server: Open Inference by Triton's own client, reloads, hostile bytes."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from bench.reload import Load
from tests.e2e.running import SERINUS, Running, running
from tests.integration.gateway.gate import Caller
from tests.integration.gateway.test_hostile import MALFORMED
from tests.models import iris, official, saved


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("front"), "--gateways", "2") as server:
        server.create("e", {"v-1": (saved("version-1"), 100)})
        server.create("iris", {"class": (saved("iris"), 50), "proba": (saved("iris-proba"), 50)})
        server.create("tensor", {"t-1": (saved("tensor"), 100)})
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def _inputs(rows: int = 3, datatype: str = "FP64", *, binary: bool = False) -> list[Any]:
    found = []
    for name, column in iris().head(rows).items():
        kind = np.float64 if datatype == "FP64" else np.float32
        tensor = triton.InferInput(str(name), [rows, 1], datatype)
        tensor.set_data_from_numpy(column.to_numpy().astype(kind)[:, None], binary_data=binary)
        found.append(tensor)
    return found


def test_a_foreign_client_finds_the_server_and_its_models(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "serinus"
    assert client.get_server_metadata()["extensions"] == []
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "proba")
    assert not client.is_model_ready("nothing")
    assert not client.is_model_ready("iris", "nothing")
    said = client.get_model_metadata("iris")
    assert (said["name"], said["versions"]) == ("iris", ["class", "proba"])
    assert {each["name"]: (each["datatype"], each["shape"]) for each in said["inputs"]} == {
        str(name): ("FP64", [-1]) for name in iris().columns
    }
    [tensor] = client.get_model_metadata("tensor", "t-1")["inputs"]
    assert tensor == {"name": "input-1", "datatype": "FP64", "shape": [-1, 3]}


def test_a_foreign_client_gets_the_models_own_answers(
    server: Running, client: triton.InferenceServerClient
) -> None:
    rows = iris().head(3)
    wanted = [triton.InferRequestedOutput("output-1", binary_data=False)]
    found = client.infer("iris", _inputs(), model_version="class", outputs=wanted, request_id="7")
    answer = found.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "iris", "class")
    expected = official("iris").predict(rows)
    assert found.as_numpy("output-1").tolist() == expected.tolist()
    assert found.get_output("output-1")["datatype"] == "INT64"
    # Without a wish for outputs this client asks for binary ones, and reads the JSON that it gets.
    proba = client.infer("iris", _inputs(datatype="FP32"), model_version="proba")
    assert proba.get_output("output-1")["shape"] == [3, 2]
    versions = {
        client.infer("iris", _inputs(), outputs=wanted).get_response()["model_version"]
        for _ in range(40)
    }
    assert versions == {"class", "proba"}  # by the split of the endpoint
    same = server.ask("iris", {"dataframe_split": rows.to_dict("split")}, "class").json()
    assert same["predictions"] == expected.tolist()
    tensor = triton.InferInput("x", [4, 3], "FP64")
    tensor.set_data_from_numpy(np.arange(12.0).reshape(4, 3), binary_data=False)
    assert client.infer("tensor", [tensor]).get_output("output-1")["shape"] == [4]


def test_what_a_foreign_client_does_wrong_is_said_to_it(
    server: Running, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match="binary tensor extension"):
        client.infer("iris", _inputs(binary=True))
    with pytest.raises(InferenceServerException, match="Endpoint with name 'no' does not exist"):
        client.infer("no", _inputs())
    with pytest.raises(InferenceServerException, match="no served entity 'no'"):
        client.infer("iris", _inputs(), model_version="no")
    with pytest.raises(InferenceServerException, match="lacks the column"):
        client.infer("iris", _inputs()[1:])
    for answer in (
        server.http.post("/v2/models/iris/infer", content=b"{"),
        server.http.get("/v2/models/iris/infer"),
        server.http.get("/v2/models/iris/versions"),
        server.http.get("/v2/repository/index"),
    ):
        assert answer.status_code in (400, 404, 405)
        assert list(answer.json()) == ["error"]
    packed = server.http.post(
        "/v2/models/iris/infer", content=b"{}", headers={"content-encoding": "gzip"}
    )
    assert "can't be read as gzip" in packed.json()["error"]


def test_27_the_running_server_refuses_what_two_readers_could_read_in_two_ways(
    server: Running,
) -> None:
    for name, probe in MALFORMED.items():
        with Caller(server.port) as caller:
            statuses = [reply.status for reply in caller.send(probe).replies()]
        assert statuses in ([400], [431], [501]), name


def test_36_paths_do_not_lead_anywhere_else(server: Running) -> None:
    for path in (
        "/api/2.0/serving-endpoints/..%2f..%2f",
        "/api/2.0/serving-endpoints/%2e%2e/%2e%2e/health",
        "/api//2.0/serving-endpoints",
        "/v2/models/%2e%2e/ready",
        "/v2/models/iris%2fversions%2fclass/ready",
        "/static/..%2f..%2fserinus.db",
    ):
        with Caller(server.port) as caller:
            reply = caller.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").reply()
            assert reply is not None
            assert reply.status == 404, path


def _reload(server: Running) -> dict[str, Any]:
    done = subprocess.run(
        [str(SERINUS), "reload", "--home", str(server.home), "--output", "json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_9_reloads_lose_no_request(server: Running) -> None:
    first = {process.pid for process in server.children("server.gateway")}
    with Load(server.port, "/serving-endpoints/e/invocations", fresh=6, kept=6) as load:
        said = {}
        for number in range(2):
            load.reached(500 * (number + 1))
            said = _reload(server)
        load.reached(load.answered + 500)
    assert load.lost == []
    assert load.closed > 0  # kept connections were told that they end
    assert said["state"] == "DONE"
    assert len(said["gateways"]) == 2
    now = {process.pid for process in server.children("server.gateway")}
    assert len(now) == 2
    assert not now & first


def test_9_a_slow_answer_outlives_the_gateway_that_gives_it(server: Running) -> None:
    body = json.dumps({"dataframe_split": {"columns": ["x", "y"], "data": [[1.0, 2.0]]}})
    with Caller(server.port) as caller:
        caller.send(
            "POST /serving-endpoints/e/invocations HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        caller.send(body[:10])
        server.reconnect()
        reloading = subprocess.Popen(
            [str(SERINUS), "reload", "--home", str(server.home)], stdout=subprocess.DEVNULL
        )
        try:
            reloading.wait(3)
        except subprocess.TimeoutExpired:
            assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200
        reply = caller.send(body[10:]).reply()
        assert reply is not None
        assert reply.status == 200
        assert reloading.wait(60) == 0


def test_a_reload_without_a_server_says_so(server: Running) -> None:
    done = subprocess.run(
        [str(SERINUS), "reload", "--home", str(server.home.parent / "nowhere")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "no server runs" in done.stderr
