"""The arguments of `completion`."""

from __future__ import annotations

from ourvidz_worker.cli.commands import PROGRAM, Commands, command


def add_completion(commands: Commands) -> None:
    completion = command(
        commands,
        "completion",
        "completion",
        "print a script that completes commands, job types, queues, models and files in a shell",
        examples=[
            f"completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}",
            f"completion zsh > ~/.zsh/completions/_{PROGRAM}",
            f"completion tcsh > ~/.{PROGRAM}.tcsh",
        ],
        exit_codes={0: "the script is printed"},
    )
    completion.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh")
