"""The report in parts: findings are read off the results; bitmaps, charts and figures draw; page tells."""
