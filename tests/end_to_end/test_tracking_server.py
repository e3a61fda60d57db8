"""A study on a real `mlflow server` behind somebody's proxy: an old one, with a password."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import served
from running import Place

SECRET = "hunter2-s3cret"
UNKNOWN = ("logged-models", "registered-models", "model-versions")
"""What a server of MLflow 2 or a proxy may not know."""


class OldServer(BaseHTTPRequestHandler):
    """Hands requests on to a real server, but for what it does not know."""

    behind = ""
    refused: list[str] = []

    def _pass_on(self) -> None:
        if any(name in self.path for name in UNKNOWN):
            self.refused.append(self.path)
            self.send_error(404)
            return
        size = int(self.headers.get("Content-Length") or 0)
        kept = ("content-type", "accept", "user-agent")
        headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
        request = urllib.request.Request(
            self.behind + self.path, self.rfile.read(size) or None, headers, method=self.command
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                status, body, kind = answer.status, answer.read(), answer.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            status, body, kind = error.code, error.read(), error.headers["Content-Type"]
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def proxy(behind: str) -> Iterator[str]:
    OldServer.behind = behind
    with ThreadingHTTPServer(("127.0.0.1", 0), OldServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_an_old_server_costs_the_model_alone_and_no_password_is_told(
    tmp_path: Path, folder: Path
) -> None:
    store = tmp_path / "server"
    store.mkdir()
    with (
        served(f"sqlite:///{store / 'mlflow.db'}", tmp_path / "server.log") as behind,
        proxy(behind) as host,
    ):
        place = Place(tmp_path, folder, f"http://alice:{SECRET}@{host}")
        process = place.start()
        stdout, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
        assert OldServer.refused
        assert "could not be kept as a model" in stderr
        assert (tmp_path / "results" / "index.html").exists()
        assert host in stdout
        assert SECRET not in stdout + stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store / "mlflow.db" in files
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
