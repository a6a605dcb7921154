"""What a path may come to name that is no file to read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

SPARSE_BYTES = 2**30


def fifo(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE_BYTES)


def fifo_behind_links(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.with_name("link").symlink_to("fifo")
    path.symlink_to("link")


IN_THE_WAY: dict[Callable[[Path], None], str] = {
    fifo: "was a FIFO, expected a regular file",
    directory: "was a directory, expected a regular file",
    device: "was a device, expected a regular file",
    terminal: "was a device, expected a regular file",
    listening: "was a socket, expected a regular file",
    sparse: f"was {SPARSE_BYTES} bytes or more, expected at most",
    fifo_behind_links: "was a FIFO, expected a regular file",
}
"""Each, and what is said of it."""
