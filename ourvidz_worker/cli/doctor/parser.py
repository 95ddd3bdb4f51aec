"""The arguments of `doctor`."""

from __future__ import annotations

from ourvidz_worker.cli.commands import Commands, command


def add_doctor(commands: Commands) -> None:
    doctor = command(
        commands,
        "doctor",
        "doctor.command",
        "check what a worker needs, with a cure for each finding",
        examples=["doctor", "doctor --fix", "doctor --json"],
        exit_codes={0: "a worker can run", 1: "something is in its way"},
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.add_argument(
        "--fix",
        action="store_true",
        help="do what is safe: make folders, remove broken-off downloads, queue the jobs of workers that are gone",
    )
