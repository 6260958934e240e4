"""One stage per file, each a typed function from frozen artifacts to a frozen artifact."""
