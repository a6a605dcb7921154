"""The way of a log line: rendered off the hot path, bounded, one format for every library."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest
import structlog

from circuit_guard.telemetry.logging import LogPipeline


class Wedged(io.StringIO):
    """A stream that nobody reads, until `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.writing = threading.Event()

    def write(self, text: str) -> int:
        self.writing.set()
        self.release.wait()
        return super().write(text)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_when_a_line_is_logged_then_it_has_its_fields_level_and_utc_time() -> None:
    stream = io.StringIO()
    with LogPipeline("info", "json", stream):
        structlog.get_logger("circuit_guard").warning("decision", verdict="DENY", reasons=["warming"])

    [line] = lines(stream)
    assert line["timestamp"].endswith("Z")  # type: ignore[attr-defined]
    assert {key: line[key] for key in ("event", "level", "verdict", "reasons")} == {
        "event": "decision",
        "level": "warning",
        "verdict": "DENY",
        "reasons": ["warming"],
    }


def test_json_when_another_library_logs_an_error_then_it_is_one_line_of_the_same_kind() -> None:
    stream = io.StringIO()
    with LogPipeline("info", "json", stream):
        try:
            int("no\nnumber")
        except ValueError:
            logging.getLogger("grpc._cython").exception("could not %s", "write")

    [line] = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("could not write", "error", "grpc._cython")
    assert "ValueError: invalid literal" in str(line["exception"])


def test_level_when_a_line_is_less_severe_then_it_is_not_written() -> None:
    stream = io.StringIO()
    with LogPipeline("warning", "json", stream):
        structlog.get_logger().info("not this")
        logging.getLogger("grpc").info("nor this")
        structlog.get_logger().warning("but this")

    assert [line["event"] for line in lines(stream)] == ["but this"]


def test_console_when_it_is_no_terminal_then_the_text_has_no_colours() -> None:
    stream = io.StringIO()
    with LogPipeline("info", "console", stream):
        structlog.get_logger().info("serving", reasons=[])

    assert "serving" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_console_when_a_client_puts_control_characters_into_a_value_then_they_are_shown_not_sent() -> None:
    stream = io.StringIO()
    with LogPipeline("info", "console", stream):
        structlog.get_logger().info("decision", request_id="\x1b[2Jowned\nforged line")

    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_queue_when_the_stream_is_stuck_then_lines_are_dropped_and_counted_and_nobody_waits() -> None:
    stream = Wedged()
    with LogPipeline("info", "json", stream, queue_max=3) as pipeline:
        log = structlog.get_logger()
        log.info("in the writer's hands")
        assert stream.writing.wait(5)
        for number in range(10):
            log.info("line", number=number)
        assert pipeline.dropped == 7
        stream.release.set()

    assert [line.get("number") for line in lines(stream)] == [None, 0, 1, 2]


def test_close_when_the_stream_stays_stuck_then_the_process_can_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circuit_guard.telemetry.logging.CLOSE_S", 0.05)
    stream = Wedged()
    with LogPipeline("info", "json", stream, queue_max=1):
        structlog.get_logger().info("in the writer's hands")
        assert stream.writing.wait(5)
        structlog.get_logger().info("fills the queue")
    stream.release.set()


def test_close_when_it_is_done_then_the_root_logger_is_as_before() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with LogPipeline("debug", "json", io.StringIO()):
        assert (root.handlers, root.level) != before

    assert (root.handlers, root.level) == before
