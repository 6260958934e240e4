"""The data pipeline around bpfunc: every file, clock, network call and terminal line lives here."""
