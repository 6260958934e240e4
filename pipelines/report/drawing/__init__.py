"""The drawing kit of the pages: markup, charts, pictures and words; it depends on no feature."""
