"""Programs mutated and sealed again, sent through the commands: nothing that is loaded may break the host."""
