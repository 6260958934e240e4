"""pytest looks for examples in every module; some of these import libraries that need not be there, or are programs."""

collect_ignore_glob = ["peers/*with_*.py", "scripts/*.py", "tabular.py"]
