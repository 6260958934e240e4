"""The drawing kit of the pages: markup, charts, pictures and words; it knows no feature."""
