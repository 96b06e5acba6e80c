"""The bare model process: load by pyfunc, predict once, wait. A replica is weighed against it."""

import json
import sys

import mlflow.pyfunc
import pandas as pd

__all__: list[str] = []


def main() -> None:
    """argv: model folder, file with a dataframe_split body. Says "ready", ends with its stdin."""
    model = mlflow.pyfunc.load_model(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        split = json.load(file)["dataframe_split"]
    model.predict(pd.DataFrame(split["data"], columns=split["columns"]))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
