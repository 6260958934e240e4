"""``python -m tests.faults mutants|kills|races|workers COUNT [SEED]``: the counts of one, as one JSON document."""

from __future__ import annotations

import json
import sys


def main(name: str, count: int, seed: int = 0) -> int:
    """Run one of them, and print what came of it."""
    from tests.faults.killed_workers import kill_workers
    from tests.faults.kills import tell_stories
    from tests.faults.mutants import read_mutants
    from tests.faults.races import run_races

    tasks = {"mutants": read_mutants, "kills": tell_stories, "races": run_races, "workers": kill_workers}
    found = tasks[name](count, seed)
    print(json.dumps(found, indent=2))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
