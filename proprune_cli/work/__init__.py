"""What layers ask of hardware, in records that both sides of the house read.

What it may know: NumPy. Pruning counts with them what it removes; the compiler, the engine's models and the
measurements say with them what remains. `layer.LayerWork` is one layer, `taps` deals its channels to lanes,
`plan.Plan` is a whole compiled network.
"""
