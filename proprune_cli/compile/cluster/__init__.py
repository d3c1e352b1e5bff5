"""The order of channels in which survivors of free branches fill whole groups."""
