"""A socket on which a test hears what systemd would be told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Self


class Notifications:
    """Stands where systemd does: datagrams on a unix socket, by path or in the abstract namespace. Use it in `with`."""

    def __init__(self, address: str) -> None:
        """`address` as in NOTIFY_SOCKET: a path, or @ and a name."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(20)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if not self.address.startswith("@"):
            Path(self.address).unlink()

    def next(self) -> str:
        """Wait for the next message."""
        return self._socket.recv(4096).decode()

    async def heard(self) -> str:
        """Wait for the next message while the event loop goes on."""
        return await asyncio.to_thread(self.next)

    def until(self, message: str) -> list[str]:
        """Return every message up to one that is waited for."""
        heard = [self.next()]
        while heard[-1] != message:
            heard.append(self.next())
        return heard

    def waiting(self) -> list[str]:
        """Return the messages that have come by now."""
        self._socket.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(self.next())
            except BlockingIOError:
                self._socket.settimeout(20)
                return heard
