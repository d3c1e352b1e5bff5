"""What users write after an option: ``name?key=value``, ``package.module:name``, one of some words.

What it may know: the standard library. Nothing of torch, data or networks: those rooms read their specifications
here.

`parse.parse_spec` splits a specification, `factories` imports and calls what it names, `options` reads its arguments
into a dataclass that declares them, `checks` refuses what is out of range, always with the option's name and a
remedy.
"""
