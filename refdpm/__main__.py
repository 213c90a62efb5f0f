"""python -m refdpm"""

from refdpm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
