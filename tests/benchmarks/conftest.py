"""pytest looks for examples in every module; the peers' modules import libraries that a test run need not have."""

collect_ignore_glob = ["peers/with_*.py"]
