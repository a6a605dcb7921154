"""The journal: what happened, kept on disk so that no restart forgets it, and chained so that no edit goes unseen."""
