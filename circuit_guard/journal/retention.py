"""Retention: the oldest block is dropped first, one at a time, so that no commit waits long.

Age is measured from the newest record, never by a clock of this module.
"""

from __future__ import annotations

from circuit_guard.journal.options import HOUR_NS, JournalOptions
from circuit_guard.journal.record import Chain
from circuit_guard.journal.store import BlockHead, CheckpointHead, Store

CHECKPOINTS_LATEST = 10
"""The latest checkpoints are kept; of the older ones, one per hour and each that has a name."""


def prune_step(store: Store, options: JournalOptions, now_ns: int) -> bool:
    """Drop the oldest block that need not be kept and the checkpoints; return whether there was such a block."""
    checkpoints = store.checkpoints()
    needed_from = checkpoints[-1].covers if checkpoints else 0
    expired = _older(store, Chain.AUDIT, now_ns - options.audit_kept_ns, needed_from)
    if expired is None and store.bytes_used() > options.bytes_max:
        expired = _older(store, Chain.RECORDER, now_ns - options.inputs_kept_ns, needed_from)
    if expired is not None:
        store.delete_block(expired)
    if dropped := _droppable(checkpoints, store):
        store.delete_checkpoints(dropped)
    return expired is not None


def prune_all(store: Store, options: JournalOptions, now_ns: int) -> int:
    """Drop all that need not be kept, give the space back to the file system, and return how many blocks went."""
    blocks = 0
    while prune_step(store, options, now_ns):
        blocks += 1
    store.give_back()
    return blocks


def over_budget_bytes(store: Store, options: JournalOptions) -> int:
    """Return by how much the journal is larger than `bytes_max`: what must be kept does not fit."""
    return max(store.bytes_used() - options.bytes_max, 0)


def _older(store: Store, chain: Chain, than_ns: int, needed_from: int) -> BlockHead | None:
    """Return the oldest block of a chain if it ends before that time and before the last checkpoint.

    Recovery needs the rest.
    """
    block = store.oldest_block(chain)
    return block if block and block.last_at_ns < than_ns and block.last_sequence <= needed_from else None


def _droppable(checkpoints: list[CheckpointHead], store: Store) -> list[int]:
    """Return the checkpoints whose record is pruned, and unnamed ones before the kept inputs or in the same hour."""
    audit_from, inputs_from = store.pruned_sequence(Chain.AUDIT), store.pruned_sequence(Chain.RECORDER)
    dropped = []
    hours = set()
    for sequence, at_ns, name, covers in checkpoints[:-CHECKPOINTS_LATEST]:
        hour = at_ns // HOUR_NS
        if sequence <= audit_from or (not name and (covers < inputs_from or hour in hours)):
            dropped.append(sequence)
        elif not name:
            hours.add(hour)
    return dropped
