"""From a quantised network to a program: passes of the engine, taps, tiles, addresses, bits."""
