"""Configuration: the policy, what is enforced; the settings, how the process runs."""
