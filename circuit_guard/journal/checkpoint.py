"""The state and its policy as they are stored: their text, compressed, and the digest that the record holds of it."""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import NamedTuple

from circuit_guard.journal.codec import decode_as, encode
from circuit_guard.journal.record import CheckpointNote, PackedCheckpoint, Snapshot

_COMPRESSION = 6


class Checkpoint(NamedTuple):
    """A checkpoint of the journal. To go on from it, apply the inputs after record `covers`."""

    sequence: int
    at_ns: int
    name: str
    """Empty for those made by the clock."""
    covers: int
    digest: str
    text: str | None
    """The encoded snapshot; None where it was not asked for, or retention has dropped it."""

    def snapshot(self) -> Snapshot:
        """Return state and policy. Raise CodecError if another version wrote them, ValueError if they are not here."""
        if self.text is None:
            raise ValueError(f"the state of checkpoint {self.sequence} is not here")
        return decode_as(Snapshot, self.text)


def pack(snapshot: Snapshot, covers: int) -> PackedCheckpoint:
    """Return a snapshot as it is stored. Takes a few hundred milliseconds."""
    text = encode(snapshot).encode()
    return PackedCheckpoint(CheckpointNote(covers, sha256(text).hexdigest()), zlib.compress(text, _COMPRESSION))


def unpack_text(body: object, digest: str) -> str | None:
    """Return the text of a stored state; None where it is not the one that the digest is of."""
    if not isinstance(body, bytes):
        return None
    try:
        text = zlib.decompress(body)
    except zlib.error:
        return None
    return text.decode() if sha256(text).hexdigest() == digest else None
