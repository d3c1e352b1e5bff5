"""From a quantised network to a program: passes of the engine, taps, tiles, addresses, bits.

What it may know: the contract with the engine (``accel``) and the quantised network. In the order in which a network
passes: ``fuse``, ``batch``, ``layer_taps``, ``tile``, ``allocate``, ``emit``; ``engine_layer`` is what they share.
"""
