"""The environment of replicas, and how processes are told apart."""

import os
from dataclasses import replace
from pathlib import Path

from serinus.engine.process import Identity, Process, boot_id, created_at, replica_environ


def environ(server: dict[str, str], **env_vars: str) -> dict[str, str]:
    return replica_environ(
        server, python="/env/bin/python", runtime=Path("/runtime"), threads=2, env_vars=env_vars
    )


def test_only_what_is_allowed_is_handed_down():
    secrets = {
        "DATABRICKS_TOKEN",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_AUTH",
        "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "HTTPS_PROXY",
        "UV_INDEX_URL",
        "PIP_INDEX_URL",
        "SERINUS_STORE",
        "VIRTUAL_ENV",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "LD_PRELOAD",
    }
    kept = {"HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "CUDA_VISIBLE_DEVICES"}
    seen = environ(dict.fromkeys(secrets | kept, "value"))
    assert not secrets & seen.keys()
    assert kept <= seen.keys()


def test_what_was_asked_for_wins():
    seen = environ({"TZ": "UTC"}, TZ="CET", OMP_NUM_THREADS="9", DATABRICKS_TOKEN="mine")
    assert (seen["TZ"], seen["OMP_NUM_THREADS"], seen["DATABRICKS_TOKEN"]) == ("CET", "9", "mine")


def test_the_package_always_stays_first_on_the_path():
    assert environ({}, PYTHONPATH="/x:/y")["PYTHONPATH"] == "/runtime:/x:/y"
    assert environ({"PYTHONPATH": "/x"})["PYTHONPATH"] == "/runtime"


def test_a_process_is_known_by_more_than_its_pid():
    here = Identity(os.getpid(), created_at(os.getpid()), boot_id())
    assert not Process(here).ended()
    assert Process(replace(here, created=here.created - 60)).ended()
    assert Process(replace(here, boot="another")).ended()


def test_a_process_that_is_somebody_elses_is_never_signalled():
    stranger = Process(Identity(os.getpid(), 1.0, boot_id()))
    stranger.terminate()
    stranger.kill()  # this test would not outlive it
    assert stranger.exit_code is None
