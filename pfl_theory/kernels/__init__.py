"""How compiled code is made: flags and cache, vector instructions, random streams."""
