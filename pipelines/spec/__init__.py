"""The specification of a run: typed, validated, read from TOML and from options."""
