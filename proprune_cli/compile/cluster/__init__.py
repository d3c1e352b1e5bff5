"""The order of channels in which survivors of free branches fill whole groups.

What it may know: the quantised network and the size of a channel group. The way in is ``streams.cluster``.
"""
