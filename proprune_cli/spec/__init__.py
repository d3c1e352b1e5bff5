"""What users write after an option: ``name?key=value``, ``package.module:name``, a choice. Knows nothing of torch."""
