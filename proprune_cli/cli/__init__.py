"""The command line: each command parses, calls `proprune_cli.flow` and renders; nothing else.

A command's file imports nothing heavy at its top, so that ``proprune --help`` stays quick.
"""
