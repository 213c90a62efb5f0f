"""The commands:  python -m refdpm COMMAND.  The module of a command is imported when that command is asked for, not before.

With --json a command prints one JSON object on standard output and nothing else there; progress goes to standard error.
Exit codes: 0 fine, 1 a check failed, 2 wrong usage, input or output, 3 an error in this package itself; ended by a signal, 128 and
its number.
"""

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any, NoReturn
import argparse
import contextlib
import signal
import sys
import traceback

from refdpm import __version__
from refdpm.console import one_line, say, tell

# of each command NAME the module, whose add_NAME says what its flags are and which function runs it; and what it is for
COMMANDS = {
    "train": ("training", "learn an experiment of the paper, report K in bits, and draw it"),
    "bound": ("runs", "print K of a run on held-out examples, term by term"),
    "sample": ("runs", "draw examples from a run: new ones, denoised ones, or completed ones"),
    "figure": ("runs", "draw what a run has learned"),
    "check": ("checking", "check an implementation: which quantities are right or wrong, and which mistake that is"),
    "explain": ("checking", "explain a name that a report prints: a clause, a function, a mistake, an equation, a convention, a "
                            "module or a word"),
    "vectors": ("checking", "write test vectors for other languages, or verify those of a folder"),
    "audit": ("itself", "check every gradient and every value, and plant every known mistake"),
    "equations": ("itself", "list every equation of the paper, with its code, its tests and notes"),
    "read": ("itself", "write one page with the whole derivation: text, formulas, code, gradients and their tests"),
    "completion": ("cli", "print a script for bash and zsh, with which the TAB key completes commands and flags"),
}
BROKEN = 3                    # the exit code of an error in this package itself


class Ended(KeyboardInterrupt):
    """A signal that asks for the end, which is heeded as an interrupt from the keyboard is: with its number."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser([word for word in words if word in COMMANDS][:1]).parse_args(words)
    import numpy as np                                         # whoever asks for help or made a mistake does not wait for it
    try:
        with np.errstate(all="ignore"), _heeded_signals():    # what overflows is seen in the result, and named
            return int(options.command(options))
    except (ValueError, OSError) as error:
        tell(f"refdpm {options.name}: error: {one_line(str(error))}")
        return 2
    except MemoryError as error:
        tell(f"refdpm {options.name}: error: expected sizes that fit into memory, got larger ones ({error})")
        return 2
    except KeyboardInterrupt as error:
        tell(f"refdpm {options.name}: stopped")
        return 128 + (error.args[0] if isinstance(error, Ended) else signal.SIGINT)
    except Exception as error:
        tell(traceback.format_exc())
        tell(f"refdpm {options.name}: this is an error in refdpm itself; please report it ({one_line(str(error))})")
        return BROKEN


@contextlib.contextmanager
def _heeded_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP are heeded, unless they are ignored already; only the main thread can see to that."""
    def end(number: int, _: Any) -> None:
        raise Ended(number)

    before = {}
    with contextlib.suppress(ValueError):
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Parser(argparse.ArgumentParser):
    """One whose errors are one line that is not too long, whatever was given."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        super().error(one_line(message))


def _parser(asked: Collection[str]) -> argparse.ArgumentParser:
    """What understands all commands, and the flags of those that are asked for."""
    parser = _Parser(prog="refdpm", description="Diffusion models with hand-derived, audited gradients.")
    parser.add_argument("--version", action="version", version=f"refdpm {__version__}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if name in asked:
            getattr(import_module(f"refdpm.{module}"), f"add_{name}")(sub)
    return parser


# -- completion ----------------------------------------------------------------------------------------------------------

SCRIPT = """# for bash and zsh:  eval "$(refdpm completion)"
[ -z "$ZSH_VERSION" ] || {{ autoload -U compinit bashcompinit && compinit && bashcompinit; }}
_refdpm() {{
    local word="${{COMP_WORDS[$COMP_CWORD]}}" offered
    case " ${{COMP_WORDS[*]:1:$((COMP_CWORD - 1))}} " in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "$offered" -- "$word")) ;;
        *) COMPREPLY=($(compgen -W "$offered" -X "-*" -- "$word")) ;;
    esac
}}
complete -o default -F _refdpm refdpm"""


def add_completion(sub: argparse.ArgumentParser) -> None:
    """No flags."""
    sub.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> int:
    """All words are in the script, so that the shell asks nobody; the longest path is tried first."""
    offered = sorted(_offered(_parser(COMMANDS)), reverse=True)
    say(SCRIPT.format(cases="\n".join(f"""        "{path} "*) offered="{words}" ;;""" for path, words in offered)))
    return 0


def _offered(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, str]]:
    """(the commands that were typed, what may follow), for the command of a parser and for those below it."""
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    words = [word for action in shown for word in (action.option_strings or action.choices or ())]
    yield path, " ".join(word for word in words if word != "-h")
    for action in shown:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from _offered(below, f"{path} {name}")
