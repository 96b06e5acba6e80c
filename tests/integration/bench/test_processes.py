"""Servers as process trees: started, found ready, weighed, and ended with all they started."""

import os
import sys

import psutil
import pytest

from bench.answers import Payload, http_request
from bench.processes import DidNotStart, ProcessTree, ask, free_port

# Answers 503 twice, then "ok"; has a child that would outlive it and ignores SIGTERM.
_SERVER = """
import http.server, subprocess, sys
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked > 2 else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
_OK = Payload(http_request("GET", "/", "127.0.0.1"), body=b"ok")


def _tree(tmp_path, code):
    port = free_port()
    return ProcessTree(
        [sys.executable, "-c", code, str(port)],
        env=dict(os.environ),
        cwd=tmp_path,
        log=tmp_path / "output.log",
        port=port,
    )


def _runs(pid):
    # A killed orphan may wait for whoever adopted it; it runs no more.
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_server_is_ready_at_its_first_right_answer_and_leaves_nothing_behind(tmp_path):
    tree = _tree(tmp_path, _SERVER)
    try:
        assert tree.wait_ready(_OK, 60) > 0
        assert ask(tree.port, _OK) == (200, b"ok")
        pids = [process.pid for process in tree.processes()]
        assert len(pids) == 2
        memory = tree.memory()
        assert [found.role for found in memory] == ["root", "child"]
        assert all(0 < found.uss <= found.pss <= found.rss for found in memory)
        assert tree.cpu_seconds().keys() == tree.roles().keys() == set(pids)
    finally:
        killed = tree.stop()
    assert killed == 1
    assert not any(_runs(pid) for pid in pids)


def test_a_server_that_ends_says_why(tmp_path):
    tree = _tree(tmp_path, "import sys; sys.exit('the disk is full')")
    with pytest.raises(DidNotStart, match=r"ended with code 1.*the disk is full"):
        tree.wait_ready(_OK, 60)
    assert tree.stop() == 0


def test_a_server_with_the_wrong_answer_is_not_ready(tmp_path):
    tree = _tree(tmp_path, _SERVER)
    try:
        wrong = Payload(_OK.request, body=b"other")
        with pytest.raises(DidNotStart, match="no right answer in"):
            tree.wait_ready(wrong, 3)
    finally:
        tree.stop()
