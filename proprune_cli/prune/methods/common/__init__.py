"""What methods share: how one is declared, walks over kernels, thresholds on plateaus, and their page."""
