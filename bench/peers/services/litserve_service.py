"""LitServe: one API, one worker, plain (argv: port plain) or batched (port batched)."""

import sys
from typing import Any

import litserve

from bench.peers.services.served import BATCH, WINDOW_S, load, predict, predict_many


class Plain(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = load()

    # LitServe wants this very name of the argument.
    def decode_request(self, request: dict[str, Any]) -> Any:
        return request["dataframe_split"]

    def predict(self, x: Any) -> Any:
        return predict(self.model, x)

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": output}


class Batched(Plain):
    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, x: list[Any]) -> Any:
        return predict_many(self.model, x)

    def unbatch(self, output: Any) -> Any:
        return output


def main() -> None:
    """Serve until told to end."""
    port, kind = int(sys.argv[1]), sys.argv[2]
    if kind == "batched":
        api: Plain = Batched(api_path="/invocations", max_batch_size=BATCH, batch_timeout=WINDOW_S)
    else:
        api = Plain(api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
