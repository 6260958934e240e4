"""``python -m pipelines`` is ``bpfunc``."""

from pipelines.cli.main import main

main()
