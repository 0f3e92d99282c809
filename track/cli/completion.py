"""``track completion``: what lets a shell complete the commands and their options, without starting Python for it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from track.cli.shell import say, say_json, take_forms

_DESCRIPTION = """
Prints a script that completes commands and options: eval "$(track completion bash)" in ~/.bashrc, the same with zsh in
~/.zshrc, and for fish track completion fish > ~/.config/fish/completions/track.fish.
"""
_BASH = """\
_track() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" options=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _track track"""
_ZSH = "autoload -U +X compinit bashcompinit\ncompinit -u\nbashcompinit"


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="for which shell")
    take_forms(parser, is_list=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script, and return the exit code."""
    from track.cli import make_parser

    (verbs,) = [one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    helps = {one.dest: str(one.help) for one in verbs._get_subactions()}
    is_fish, is_zsh = arguments.shell == "fish", arguments.shell == "zsh"
    script = _fish(verbs.choices, helps) if is_fish else _bash(verbs.choices, is_zsh)
    if arguments.json:
        say_json(shell=arguments.shell, script=script)
    else:
        say(script)
    return 0


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a command, and of what it has inside."""
    inside = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [
        *(one for one in parser._actions if one.option_strings),
        *(one for verbs in inside for child in verbs.choices.values() for one in child._actions if one.option_strings),
    ]


def _bash(verbs: Mapping[str, argparse.ArgumentParser], is_zsh: bool) -> str:
    cases = []
    for name, parser in verbs.items():
        options = dict.fromkeys(text for one in _options(parser) for text in one.option_strings)
        cases.append(f'        {name}) options="{" ".join(options)}" ;;')
    script = _BASH.format(verbs=" ".join(verbs), cases="\n".join(cases))
    return f"{_ZSH}\n{script}" if is_zsh else script


def _fish(verbs: Mapping[str, argparse.ArgumentParser], helps: Mapping[str, str]) -> str:
    lines = [f"complete -c track -n __fish_use_subcommand -a {name} -d {_quoted(helps[name])}" for name in verbs]
    for name, parser in verbs.items():
        for one in _options(parser):
            flags = " ".join(
                f"-l {text[2:]}" if text.startswith("--") else f"-s {text[1:]}" for text in one.option_strings
            )
            value = "" if one.nargs == 0 else " -r"
            lines.append(
                f"complete -c track -n '__fish_seen_subcommand_from {name}' {flags}{value} -d {_quoted(str(one.help))}"
            )
    return "\n".join(dict.fromkeys(lines))


def _quoted(text: str) -> str:
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
