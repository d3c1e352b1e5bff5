"""The tables of the papers, one command each: ``python -m benchmarks.reproduce TABLE [--full] [--out DIR]``."""
