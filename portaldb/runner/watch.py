"""What a runner shows of itself over HTTP: its health, and its counters as Prometheus reads them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from portaldb.errors import EnvironmentMissingError


class Watch:
    """What happened, and how it stood when the loop looked last."""

    def __init__(self, patience: float) -> None:
        """Take after how many seconds without a look something is wrong."""
        self._patience, self._lock = patience, threading.Lock()
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._rows: Mapping[str, int] = {}
        self._figures: dict[str, float] = {}
        self._last = time.monotonic()
        self.looks = 0

    def happened(self, event: str, state: str, reason: str) -> None:
        """Count what was logged."""
        with self._lock:
            self._events[event, state, reason] += 1

    def looked(self, seconds: float, rows: Mapping[str, int], containers: int, waiting: float) -> None:
        """Take what a look saw, and how long it took; `waiting` is the age of what waits longest."""
        with self._lock:
            self.looks, self._last, self._rows = self.looks + 1, time.monotonic(), rows
            self._figures = {
                "containers": containers, "waiting_seconds": waiting, "look_seconds": seconds, "looks_total": self.looks
            }  # fmt: skip

    def ill(self) -> str | None:
        """Return what is wrong, if anything."""
        silent = time.monotonic() - self._last
        return f"for {silent:.0f} s it could not look at the engine and the table" if silent > self._patience else None

    def metrics(self) -> str:
        """Return all of it in Prometheus' text format."""
        with self._lock:
            lines = [f"portaldb_runner_{name} {value:g}" for name, value in self._figures.items()]
            lines += [f'portaldb_runner_rows{{state="{name}"}} {count}' for name, count in sorted(self._rows.items())]
            lines += [
                f'portaldb_runner_events_total{{event="{event}",state="{state}",reason="{reason}"}} {count}'
                for (event, state, reason), count in sorted(self._events.items())
            ]
            lines.append(f"portaldb_runner_last_look_seconds {time.monotonic() - self._last:.1f}")
        return "\n".join(lines) + "\n"


@contextmanager
def serving(watch: Watch, where: tuple[str, int] | None) -> Iterator[None]:
    """Answer /healthz and /metrics, if an address is given. Raises EnvironmentMissingError where it cannot be had."""
    if where is None:
        yield
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer."""
            ill = watch.ill()
            known = {"/healthz": (503 if ill else 200, f"{ill or 'ok'}\n"), "/metrics": (200, watch.metrics())}
            status, text = known.get(self.path, (404, "/healthz or /metrics\n"))
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing: who asks is not the runner's to log."""

    try:
        server = ThreadingHTTPServer(where, Handler)
    except OSError as error:
        raise EnvironmentMissingError(f"The runner cannot listen on {where[0]}:{where[1]}: {error.strerror}.") from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
