"""``python -m ringcore <agent|attach|rank|gateway|...>``: the processes of a host."""

from ringcore.processes import main

if __name__ == "__main__":
    raise SystemExit(main())
