"""What runs on the board itself: standard library, numpy and pynq only, nothing else of proprune."""
