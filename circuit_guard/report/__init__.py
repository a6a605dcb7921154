"""What happened in an incident, from the journal alone: for people, for machines, and as a ledger of compensation."""
