"""`python -m bench.peers.proxied haproxy|envoy PORT HOME BIN`: a proxy splitting 90/10 over two
constant back ends. It starts all three, and they end with it."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.processes import free_port

__all__ = ["envoy_config", "haproxy_config"]

_SHARES = (90, 10)
_LIMIT = Path(__file__).resolve().parents[1] / "limit.py"


def haproxy_config(port: int, behind: list[int]) -> str:
    """Round robin by weight, connections kept and shared, nothing logged."""
    servers = "\n".join(
        f"  server s{each} 127.0.0.1:{each} weight {share}"
        for each, share in zip(behind, _SHARES, strict=True)
    )
    return f"""global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  balance roundrobin
{servers}
"""


def envoy_config(port: int, behind: list[int]) -> dict[str, Any]:
    """Weighted clusters on one route; no admin port."""
    names = [f"back{number}" for number in range(len(behind))]
    weights = [{"name": name, "weight": share} for name, share in zip(names, _SHARES, strict=True)]
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": weights}}}
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"@type": f"{kind}.http.router.v3.Router"}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "split",
        "generate_request_id": False,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "front", "address": _at(port), "filter_chains": [{"filters": [network]}]}
    clusters = [_cluster(name, each) for name, each in zip(names, behind, strict=True)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _at(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _command(name: str, port: int, home: Path, bin_: Path, behind: list[int]) -> list[str]:
    if name == "haproxy":
        config = home / "haproxy.cfg"
        config.write_text(haproxy_config(port, behind))
        return [shutil.which("haproxy") or "haproxy", "-db", "-f", str(config)]
    config = home / "envoy.json"
    config.write_text(json.dumps(envoy_config(port, behind)))
    quiet = ["--disable-hot-restart", "--log-level", "error"]
    return [str(bin_ / "envoy"), "-c", str(config), "--concurrency", "2", *quiet]


def main() -> int:
    """Until told to end, or until one of the three ends by itself."""
    name, port, home, bin_ = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    behind = [free_port() for _ in _SHARES]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children = [subprocess.Popen([sys.executable, str(_LIMIT), str(each)]) for each in behind]
    try:
        children.append(subprocess.Popen(_command(name, port, home, bin_, behind)))
        return children[-1].wait()
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(10)


if __name__ == "__main__":
    raise SystemExit(main())
