"""What layers ask of hardware, in records that both sides of the house read: pruning counts with them what it removes,
the compiler and the models of the engine say with them what remains. Knows numpy and nothing of networks or engines.
"""
