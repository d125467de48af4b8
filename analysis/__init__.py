"""One script for each figure or table; `pfl_theory.analyses` says what a script has, and does the rest."""
