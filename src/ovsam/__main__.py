"""The command: `ovsam`, `python -m ovsam`, `torchrun -m ovsam`."""

from __future__ import annotations

from ovsam.cli.signals import end_at_once_on_signals, end_interrupted, end_quietly_on_signals


def main() -> None:
    """Run the command; all that it needs is imported when Ctrl-C is taken care of."""
    end_quietly_on_signals()
    try:
        from ovsam.cli.app import app

        app(prog_name="ovsam")
    except KeyboardInterrupt as error:  # before any command had begun
        raise SystemExit(end_interrupted(error)) from None
    finally:
        end_at_once_on_signals()


if __name__ == "__main__":
    main()
