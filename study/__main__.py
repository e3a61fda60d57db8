"""`python -m study`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # else an older one shows a traceback
    sys.exit(
        f"error: this is Python {sys.version_info[0]}.{sys.version_info[1]}, and 3.11 is the "
        "oldest that will do"
    )
try:
    from study.commands.cli import main
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("study", "models", "analysis"):
        raise
    sys.exit(f"error: {error}: python -m pip install -r requirements.txt")

if __name__ == "__main__":  # a worker process that is spawned imports this file too
    main()
