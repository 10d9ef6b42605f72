"""The log is JSON lines with known fields; what is not on the list, and what an exception says, does not get in."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tests.entrypoints.http.house import logged

log = logging.getLogger("watchkey.http.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    opened = io.StringIO()
    with logged(opened):
        yield opened


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_has_its_name_its_level_its_time_and_its_fields(stream: io.StringIO) -> None:
    log.warning("http.caller_refused", extra={"request_id": "r-1", "peer": "127.0.0.1"})
    (line,) = lines(stream)
    assert line.pop("at")
    assert line == {"level": "warning", "event": "http.caller_refused", "request_id": "r-1", "peer": "127.0.0.1"}


def test_a_field_that_is_not_on_the_list_is_not_written(stream: io.StringIO) -> None:
    log.warning("some.event", extra={"body": "canary", "authorization": "canary", "caller": "gateway"})
    assert "canary" not in stream.getvalue()
    assert lines(stream)[0]["caller"] == "gateway"


def _break(text: str) -> None:
    raise RuntimeError(text)


def test_an_exception_is_named_and_placed_and_its_text_kept_out(stream: io.StringIO) -> None:
    try:
        _break("the canary key")
    except RuntimeError:
        log.exception("http.failed", extra={"request_id": "r-2"})
    (line,) = lines(stream)
    assert line["error"] == "RuntimeError"
    assert str(line["where"]).startswith("test_event_log.py:")
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("message", ["Task exception was never retrieved canary", "x %s", "free text canary\nforged"])
def test_free_text_of_a_library_becomes_the_name_of_its_logger(stream: io.StringIO, message: str) -> None:
    logging.getLogger("asyncio").error(message, *(["canary"] if "%s" in message else []))
    assert [line["event"] for line in lines(stream)] == ["log.asyncio"]
    assert "canary" not in stream.getvalue()


def test_a_long_value_is_cut_and_a_line_break_cannot_forge_a_line(stream: io.StringIO) -> None:
    log.warning("some.event", extra={"peer": "x\n{}" * 1000})
    (line,) = lines(stream)
    assert len(str(line["peer"])) == 300


def test_a_flood_is_thinned_out_and_counted(stream: io.StringIO) -> None:
    for _ in range(1000):
        log.warning("some.event")
    assert 50 <= len(lines(stream)) < 1000


def test_a_stream_that_nobody_reads_stops_nothing(stream: io.StringIO) -> None:
    stream.close()
    log.warning("some.event")
    assert stream.closed
