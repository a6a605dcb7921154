"""A real Prometheus and a real Alertmanager with the configuration that is shipped, and a pager that they call."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.prometheus.described import PROMETHEUS, tool

STARTED_WITHIN_S = 30.0


class Page(NamedTuple):
    """An alert as the pager got it, and when, on the monotonic clock."""

    at_s: float
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Monitoring:
    """What the pager was told, and what Prometheus says of its rules."""

    def __init__(self, prometheus: str) -> None:
        self.pages: list[Page] = []
        self._arriving: queue.SimpleQueue[Page] = queue.SimpleQueue()
        self._prometheus = prometheus

    def page(self, page: Page) -> None:
        """Take a page; called on the pager's thread."""
        self._arriving.put(page)

    def wait_for(self, name: str, within_s: float) -> Page | None:
        """Return the first page of an alert; None where none comes within the time."""
        deadline_s = time.monotonic() + within_s
        while True:
            for page in self.pages:
                if page.name == name:
                    return page
            try:
                self.pages.append(self._arriving.get(timeout=max(deadline_s - time.monotonic(), 0)))
            except queue.Empty:
                return None

    def unhealthy_rules(self) -> list[str]:
        """Return the rules that Prometheus could not evaluate, each with its error."""
        with urllib.request.urlopen(f"http://{self._prometheus}/api/v1/rules", timeout=5) as answer:
            groups = json.load(answer)["data"]["groups"]
        judged = [rule for group in groups for rule in group["rules"]]
        assert judged
        return [f"{rule['name']}: {rule['lastError']}" for rule in judged if rule["health"] != "ok"]


@contextmanager
def monitoring(folder: Path, guard: str) -> Iterator[Monitoring]:
    """Scrape a guard with the shipped configuration; only addresses are replaced."""
    prometheus, alertmanager = f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"
    watched = Monitoring(prometheus)
    with _pager(watched) as pager:
        settings = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
        for receiver in settings["receivers"]:
            for webhook in receiver.get("webhook_configs", ()):
                webhook["url"] = webhook["url"].replace("127.0.0.1:9094", pager)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(settings))
        settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        settings["rule_files"] = [str(PROMETHEUS / name) for name in settings["rule_files"]]
        settings["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
        settings["scrape_configs"][0]["static_configs"][0]["targets"] = [guard]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        with (
            _process(
                folder,
                "prometheus-alertmanager",
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={alertmanager}",
                "--cluster.listen-address=",
            ),
            _process(
                folder,
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={prometheus}",
            ),
        ):
            _wait_until_ready(alertmanager)
            _wait_until_ready(prometheus)
            yield watched


@contextmanager
def _pager(watched: Monitoring) -> Iterator[str]:
    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/pager":
                for alert in told["alerts"]:
                    name = alert["labels"]["alertname"]
                    watched.page(Page(time.monotonic(), name, alert["labels"], alert["annotations"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pager) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _process(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    with (
        (folder / f"{name}.log").open("w") as log,
        subprocess.Popen([tool(name), *arguments], cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(address: str) -> None:
    deadline_s = time.monotonic() + STARTED_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
