"""Ask a running server over HTTP: `python scripts/ask.py health|ready|urls`. Needs nothing but Python."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request

HOST = os.environ.get("RAVEN_HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
PORTS = {
    "gRPC": os.environ.get("RAVEN_PORT", "50051"),
    "health": os.environ.get("HEALTH_CHECK_PORT", "8080"),
    "metrics": os.environ.get("METRICS_PORT", "9090"),
}


def urls() -> int:
    """Print where a server with the default ports answers."""
    print(f"gRPC     {HOST}:{PORTS['gRPC']}")
    for path in ("health", "ready"):
        print(f"{path:<8} http://{HOST}:{PORTS['health']}/{path}")
    print(f"metrics  http://{HOST}:{PORTS['metrics']}/metrics")
    return 0


def ask(route: str) -> int:
    """Print the answer of one route; 0 only when it is 200."""
    url = f"http://{HOST}:{PORTS['health']}/{route}"
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            body, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        body, status = error.read(), error.code
    except OSError as error:
        reason = getattr(error, "reason", error)
        print(
            f"nobody answers at {url} ({reason}); start a server with `make run`, or set HEALTH_CHECK_PORT",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(json.loads(body), indent=2))
    return 0 if status == 200 else 1


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "health"
    sys.exit(urls() if what == "urls" else ask(what))
