"""Pruning as a knapsack problem (Ramhorst et al. 2023, "FPGA Resource-aware Structured Pruning for Real-Time Neural
Networks", arXiv 2308.05170): weights form structures that cost hardware together, and the most valuable set of
structures is kept that several resources at once can pay for.
"""
