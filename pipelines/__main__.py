"""``python -m pipelines`` is ``bpfunc``."""

from pipelines.cli import main

main()
