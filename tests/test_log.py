"""Log lines: JSON for machines, and no secret in any of them, however it got there."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from ourvidz_worker.log import STRUCK_OUT, configure_logging
from tests.support.logs import logging_restored

SECRETS = ("eyJhbGciOiJIUzI1NiJ9.service-key", 'a "quoted" \\ sécret', "token", "token-and-more")
FORMATS: tuple[Literal["json", "console"], ...] = ("json", "console")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    with logging_restored():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def plain(text: str) -> str:
    """Without colours and line breaks, which could hide a secret from a search."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\n", "")


def test_a_json_line_has_its_event_level_time_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    structlog.contextvars.bind_contextvars(job_id="job-1")
    structlog.get_logger().info("job_claimed", attempt=1, note="line one\nline two")
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "job_claimed",
        "level": "info",
        "job_id": "job-1",
        "attempt": 1,
        "note": "line one\nline two",
    }


def test_away_from_a_terminal_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="auto")
    structlog.get_logger().info("job_claimed")
    assert lines(capsys)[0]["event"] == "job_claimed"


def test_a_traceback_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    structlog.get_logger().error("generation_failed", exc_info=RuntimeError("the unet is missing"))
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert "RuntimeError: the unet is missing" in line["exception"]


@pytest.mark.parametrize(("level", "seen"), [("debug", 2), ("info", 1), ("error", 0)])
def test_the_level_is_a_setting(capsys: pytest.CaptureFixture[str], level: str, seen: int) -> None:
    configure_logging(level=level, log_format="json")
    structlog.get_logger().debug("detail")
    structlog.get_logger().info("event")
    assert len(lines(capsys)) == seen


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_struck_out_wherever_it_stands(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"], secret: str
) -> None:
    configure_logging(log_format=log_format, secrets=SECRETS)
    structlog.get_logger().info(f"event {secret}", value=secret, nested={"list": [secret]}, url=f"?_token={secret}")
    text = capsys.readouterr().err
    assert secret not in plain(text)
    assert "quoted" not in text
    assert "and-more" not in text, "a longer secret that begins with a shorter one leaves nothing behind"
    assert text.count(STRUCK_OUT) >= 4


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_struck_out_of_tracebacks(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"], secret: str
) -> None:
    """Not even the local variables of a frame may show it, nor its first half where a line is broken."""
    configure_logging(log_format=log_format, secrets=SECRETS)

    def call(key: str) -> None:
        header = f"Bearer {key}"
        raise ValueError(f"Illegal header value {header}")

    try:
        call(secret)
    except ValueError:
        structlog.get_logger().exception("upload_failed")
    text = capsys.readouterr().err
    assert f"Illegal header value Bearer {STRUCK_OUT}" in text
    assert secret not in plain(text)
    assert secret[: len(secret) // 2 + 1] not in plain(text).replace(STRUCK_OUT, "")


def test_a_line_with_struck_out_secrets_is_still_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json", secrets=SECRETS)
    structlog.get_logger().info("event", value=f"<{SECRETS[1]}>")
    assert lines(capsys)[0]["value"] == f"<{STRUCK_OUT}>"


def test_an_empty_secret_strikes_out_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json", secrets=("",))
    structlog.get_logger().info("event")
    assert lines(capsys)[0]["event"] == "event"


def test_what_libraries_log_is_a_line_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A line in another format breaks whoever reads the log as JSON, and would carry secrets past the strike-out."""
    configure_logging(log_format="json", secrets=SECRETS)
    logging.getLogger("httpx").warning("retrying %s", f"https://x/?_token={SECRETS[0]}")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == ("library", "warning", "httpx")
    assert line["text"] == f"retrying https://x/?_{STRUCK_OUT}={STRUCK_OUT}"


def test_a_librarys_traceback_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json", secrets=SECRETS)
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=RuntimeError(SECRETS[0]))
    (line,) = lines(capsys)
    assert f"RuntimeError: {STRUCK_OUT}" in line["exception"]


def test_a_librarys_request_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="debug", log_format="json")
    logging.getLogger("httpx").info("HTTP Request: GET https://x")
    assert lines(capsys) == []


def test_a_library_that_logs_wrongly_does_not_fail_its_caller(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    configure_logging(log_format="json")
    logging.getLogger("library").warning("%d images", "six")
    assert lines(capsys) == []


def test_configuring_twice_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    configure_logging(log_format="json")
    logging.getLogger("library").warning("once")
    assert len(lines(capsys)) == 1


def test_a_console_line_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="console")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        structlog.get_logger().info("job_claimed", attempt=1)
    assert "job_claimed" in plain(capsys.readouterr().err)


CRASHES = {
    "in the main thread": "raise RuntimeError(f'no {SECRET}')",
    "in a thread": "import threading; threading.Thread(target=fail).start()",
    "in a destructor": "import gc; Doomed(); gc.collect()",
    "in a forgotten task": "asyncio.run(forget())",
    "as a warning": "import warnings; warnings.warn(f'no {SECRET}')",
}


@pytest.mark.parametrize("way", CRASHES)
def test_what_python_prints_by_itself_is_a_line_without_secrets(way: str) -> None:
    """An uncaught exception is the last line of a process, and it is printed by the interpreter."""
    script = f"""
import asyncio, gc
from ourvidz_worker.log import configure_logging, log_crashes
SECRET = {SECRETS[0]!r}
configure_logging(log_format="json", secrets=(SECRET,))
log_crashes()
def fail():
    raise RuntimeError(f"no {{SECRET}}")
class Doomed:
    __del__ = lambda _self: fail()
async def forget():
    async def failing():
        fail()
    asyncio.create_task(failing())
    await asyncio.sleep(0)
    gc.collect()
{CRASHES[way]}
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    (line,) = result.stderr.splitlines()
    assert STRUCK_OUT in json.dumps(json.loads(line))
    assert SECRETS[0] not in line
    assert result.stdout == ""
