"""The command line: one file for each group of commands; they parse, call and print, and compute nothing."""
