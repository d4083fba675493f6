"""Ask a running server over HTTP: `python scripts/ask.py health|ready|urls`.

It asks where the configuration says; without the packages that read it, at the built-in ports. Ports that were given on
the server's command line are given to this in the environment, see `OTHERS`.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from raven.errors import ConfigurationError

# Names of the environment, and what they are when nothing is configured.
BUILT_IN = {"RAVEN_HOST": "127.0.0.1", "RAVEN_PORT": "50051", "HEALTH_CHECK_PORT": "8080", "METRICS_PORT": "9090"}
OTHERS = "RAVEN_PORT=… HEALTH_CHECK_PORT=… METRICS_PORT=…"
# Who listens everywhere answers here.
EVERYWHERE = ("0.0.0.0", "::")


def where() -> tuple[str, str, str]:
    """Return the addresses of gRPC, health and metrics, as `host:port`."""
    try:
        from raven.config import load  # noqa: PLC0415 - needs packages, and this has to work without
    except ImportError:
        host, grpc, health, metrics = (os.environ.get(name) or usual for name, usual in BUILT_IN.items())
        monitoring_host = host
    else:
        settings = load().settings
        host, monitoring_host = settings.server.host, settings.monitoring.host or settings.server.host
        monitoring = settings.monitoring
        grpc, health, metrics = map(str, (settings.server.port, monitoring.health_check_port, monitoring.metrics_port))
    return _address(host, grpc), _address(monitoring_host, health), _address(monitoring_host, metrics)


def _address(host: str, port: str) -> str:
    return f"{'127.0.0.1' if host in EVERYWHERE else host}:{port}"


def urls() -> int:
    """Print where a server with this configuration answers."""
    grpc, health, metrics = where()
    print(f"gRPC     {grpc}")
    for path in ("health", "ready"):
        print(f"{path:<8} http://{health}/{path}")
    print(f"metrics  http://{metrics}/metrics")
    print(f"as configured; of a server started with --port or --monitoring-port: make urls {OTHERS}")
    return 0


def ask(route: str) -> int:
    """Print the answer of one route; 0 only when it is 200."""
    url = f"http://{where()[1]}/{route}"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            body, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        body, status = error.read(), error.code
    except OSError as error:
        reason = getattr(error, "reason", error)
        print(
            f"nobody answers at {url} ({reason}); start a server with `make run`, or set HEALTH_CHECK_PORT to the port "
            "that it was given with --monitoring-port",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(json.loads(body), indent=2))
    return 0 if status == 200 else 1


def main() -> int:
    """Do what the first argument says."""
    what = sys.argv[1] if len(sys.argv) > 1 else "health"
    try:
        return urls() if what == "urls" else ask(what)
    except ConfigurationError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
