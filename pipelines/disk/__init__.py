"""Files on disk: written atomically, with a checksum of their content, and read back with checks."""
