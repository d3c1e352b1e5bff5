"""Files as they may be: cut, altered, endless, or made to exhaust whoever opens them. Every room reads and writes here.

Nothing that is read is ever executed, no size that a file only declares is allocated before it is compared with a limit
(`limits`), and a faulty file is a fault of the file: `InputError`, or ``ValueError`` where a caller says it better.
"""
