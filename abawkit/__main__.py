"""``python -m abawkit``."""

from abawkit.cli import main

if __name__ == "__main__":
    main()
