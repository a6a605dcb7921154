"""The rules, one file each. `rulebook` finds them; docs/architecture.md says how one is added."""
