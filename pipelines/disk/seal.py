"""Files that carry a checksum of their content; reading compares it.

A seal finds damage, as a bad disk, a cut-off copy or a stray edit makes it. It is not a signature: a person who wants
to deceive can seal anew, so a reader checks sizes, names, types and shapes as well, and never runs what it reads.
"""

from __future__ import annotations

import json

SEAL = "sha256"
"""Name of the seal: in a JSON object, a safetensors header, or a Parquet file's metadata."""


def _canonical(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
