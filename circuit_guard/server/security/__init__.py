"""Who is asking, and may they? Nothing of a request is looked at before that is known."""
