"""``serinus query``: one request to an endpoint, and who answered it."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.connection import (
    DEFAULT_SERVER,
    EndpointArgument,
    ServerOption,
    TokenOption,
    connected,
)
from serinus.cli.output import Output, OutputOption, show_json, stderr, stdout

__all__ = ["query"]


def query(
    endpoint: EndpointArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data", "-d", metavar="JSON|@FILE|-", help="request body", show_default=False
        ),
    ],
    served: Annotated[
        str | None,
        typer.Option("--served", help="ask this served entity, past the split", show_default=False),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send one request; the body is JSON as MLflow scores it, e.g. {"dataframe_records": […]}."""
    body = _body(data)
    with connected(server, token) as client:
        answer, headers = client.query(endpoint, body, served)
    who = headers.get("served-model-name")
    request_id = headers.get("x-request-id")
    if output is Output.JSON:
        document = answer if isinstance(answer, dict) else {"predictions": answer}
        show_json({**document, "served_model_name": who, "request_id": request_id})
        return
    predictions = answer.get("predictions", answer) if isinstance(answer, dict) else answer
    out = stdout()
    for row in predictions if isinstance(predictions, list) else [predictions]:
        out.print(json.dumps(row), markup=False, soft_wrap=True)
    stderr().print(f"answered by [bold]{who or 'an unnamed model'}[/]  request {request_id or '-'}")


def _body(data: str) -> bytes:
    """The bytes to send, exactly as given, once it is known that they are JSON."""
    try:
        if data == "-":
            body = sys.stdin.buffer.read()
        elif data.startswith("@"):
            body = Path(data[1:]).read_bytes()
        else:
            body = data.encode()
        json.loads(body)
    except OSError as error:
        raise typer.BadParameter(f"{data[1:]} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"the data is not JSON: {error}") from error
    return body
