"""The command ``point2mask``: one module a subcommand, errors in one line."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from point2mask.cli.command import ERROR, Parser, UsageError, add_verbose
from point2mask.data.errors import DataError
from point2mask.data.files import is_text, one_line
from point2mask.messages import shown

# A module has add_parser(subparsers), which sets the default run=run, and run(args) -> exit code.
# It imports what is slow or optional in run.
COMMANDS = (
    "info",
    "points",
    "label",
    "gather",
    "annotate",
    "recipes",
    "train",
    "sweep",
    "predict",
    "export",
    "evaluate",
    "shapes",
    "convert",
    "demo",
)
EXTRAS = (
    dict.fromkeys(("PIL", "msgspec", "pycocotools", "rich", "scipy", "skimage"), "label")
    | dict.fromkeys(("fastapi", "starlette", "uvicorn"), "app")
    | dict.fromkeys(
        ("accelerate", "safetensors", "tensorboard", "timm", "torchvision", "yaml"), "train"
    )
    | {"onnxruntime": "prompts", "ray": "ray"}
)
# Of commands that need more than the extra "label": that with more, so that one install is enough.
LARGER = dict.fromkeys(("train", "sweep", "predict", "export", "demo"), "train") | {
    "annotate": "app"
}
# Packages of stores, whose errors (no credentials, no connection, no such bucket) are no OSErrors.
STORES = {
    *("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "huggingface_hub"),
    *("httpx", "httpx2", "s3fs", "upath"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 0, 2 for errors, others as --help says."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks how a command line could go on
        _complete(parser)
    # argparse ends a list of positionals at the first option: KEY=VALUE may follow one.
    for word in sys.argv[1:] if arguments is None else arguments:
        if word and not is_text(word):
            parser.error(
                "expected words without line breaks, control characters and bytes that are not "
                f"UTF-8, got {shown(word)}"
            )
    args, rest = parser.parse_known_args(arguments)
    takes_values = hasattr(args, "overrides")
    others = [word for word in rest if not (takes_values and _is_value(word))]
    if others:
        hint = "; values are given as KEY=VALUE" if takes_values else ""
        args.parser.unknown(others, hint)
    if rest:
        args.overrides += rest
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _fail("interrupted", args.verbose, code=130)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        if extra == "label":
            extra = LARGER.get(args.run.__module__.rpartition(".")[2], extra)
        return _fail(f"this needs {package}; run: pip install 'point2mask[{extra}]'", args.verbose)
    except OSError as error:
        # The message of the system, with the file first and without its number.
        text = error.strerror or str(error)
        text = f"{error.filename}: {text}" if error.filename else text
        return _fail(text, args.verbose)
    except (DataError, UsageError) as error:
        return _fail(str(error), args.verbose)
    except Exception as error:
        if _is_of_memory(error):
            reason = " ".join(str(error).split())
            return _fail(f"not enough memory {reason:.200}".rstrip(), args.verbose)
        packages = (type(error).__module__.partition(".")[0], _raised_in(error))
        store = next((name for name in packages if name in STORES), None)
        if store is None:
            raise
        return _fail(f"{store}: {error or type(error).__name__}", args.verbose)


class ShowVersion(argparse.Action):
    """``--version``; argparse's own would look it up whenever a parser is built."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from point2mask import __version__

        print(f"point2mask {__version__}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="point2mask",
        description="Panoptic masks from points.",
        epilog="'point2mask COMMAND --help' explains a command and gives examples. "
        "Exit codes: 0 done, 2 bad input or usage (one line says what and what helps; -v shows "
        "where), 75 training was stopped by SIGTERM and left a checkpoint, 130 interrupted, 1 a "
        "fault in point2mask itself (a traceback; please report it).",
    )
    add_verbose(parser, default=False)
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"point2mask.cli.{name}").add_parser(subparsers)
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell by argcomplete and ends; without the package nothing is completed."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        sys.exit(1)
    argcomplete.autocomplete(parser)


def _is_value(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def _is_of_memory(error: Exception) -> bool:
    """Also of torch, which says so by an error of another kind on the CPU and on a GPU."""
    named = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or named or "can't allocate memory" in str(error)


def _raised_in(error: Exception) -> str:
    """The package whose code raised an error, which may be one of Python's own kinds."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _fail(message: str, verbose: bool, code: int = 2) -> int:
    if verbose:
        traceback.print_exc()
    print(f"{ERROR}{one_line(message)}", file=sys.stderr)
    return code
