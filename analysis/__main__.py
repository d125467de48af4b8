"""``python -m analysis NAME|all``: see ``python -m analysis --help``."""

from pfl_theory.analyses import main

if __name__ == "__main__":
    main()
