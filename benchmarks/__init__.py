"""Benchmarks: ``make bench`` or ``python -m benchmarks [name ...]``. Ratios come from one process, interleaved."""
