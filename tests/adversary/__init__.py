"""The attack and what it is attacked with."""
