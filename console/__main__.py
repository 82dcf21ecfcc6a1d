"""``mlxring``: see `console.cli`."""

import signal


def main() -> int:
    """Until the command line can say in words that it was interrupted, ctrl+c ends it without any."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from console import cli

    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
