"""What is sent to the HTTP port and is no HTTP: it is refused, and leaves nothing in the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.attacks.process import attacked

SENT = "c2VjcmV0LXRva2Vu"

REQUESTS = {
    "a bad value of a header": f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SENT}\0\r\n\r\n",
    "two lengths": f"GET /{SENT} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no version": f"GET /{SENT} HTTP/9\r\n\r\n",
    "a long line": f"GET /{SENT}{'a' * 9_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


async def answered(address: str, request: str) -> str:
    """Return the first line of what comes back."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return line.decode()


async def test_request_when_it_is_no_http_then_it_gets_400_and_its_sender_fills_no_log(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (guard, _):
        before = len(guard.log)
        answers = {
            what: [await answered(guard.http_address(), one) for _ in range(20)] for what, one in REQUESTS.items()
        }
        good = await answered(guard.http_address(), "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert {what: {answer.split()[1] for answer in given} for what, given in answers.items()} == {
            what: {"400"} for what in REQUESTS
        }
        assert good.split()[1] == "200"
        assert SENT not in guard.log
        assert len(guard.log) - before < 20 * 100
