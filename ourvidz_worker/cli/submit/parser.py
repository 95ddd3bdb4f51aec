"""The arguments of `submit`."""

from __future__ import annotations

from ourvidz_worker.cli.commands import Commands, command


def add_submit(commands: Commands) -> None:
    submit = command(
        commands,
        "submit",
        "submit.command",
        "queue a job, or a storyboard, through the product's queue-job function",
        examples=[
            'submit video_fast --prompt "a lighthouse at dawn" --wait',
            'submit sdxl_image_fast --prompt "the same, in oil" --reference style=https://example.com/oil.png',
            "submit storyboard.json --enhance --wait",
        ],
        exit_codes={
            0: "queued; with --wait, completed",
            1: "not queued, or refused; with --wait, not completed",
            130: "interrupted; what was queued goes on",
        },
    )
    submit.add_argument(
        "what",
        metavar="TYPE|FILE.json",
        help="the job type, like sdxl_image_fast, or a storyboard: what /storyboard answered, or a list of scenes",
    )
    submit.add_argument("--prompt", metavar="TEXT", help="what to draw; needed for a job type")
    submit.add_argument("--enhance", action="store_true", help="have the product's enhance-prompt rewrite it first")
    submit.add_argument("--images", type=int, choices=(1, 3, 6), help="number of images (default 1)")
    submit.add_argument("--seed", metavar="NUMBER", type=int, help="seed of the first image, or of every scene")
    submit.add_argument(
        "--reference",
        metavar="[TYPE=]URL",
        action="append",
        help="a picture to be guided by; several, of different types, as style=URL, composition=URL, character=URL",
    )
    submit.add_argument(
        "--reference-type",
        choices=("style", "composition", "character"),
        default="style",
        help="type of a reference that names none (default style)",
    )
    submit.add_argument("--start-frame", metavar="URL", help="the picture that a video begins with")
    submit.add_argument("--end-frame", metavar="URL", help="the picture that a video ends with")
    submit.add_argument(
        "--reference-strength", metavar="NUMBER", type=float, default=0.7, help="0.1 to 1.0 (default 0.7)"
    )
    submit.add_argument("--scheduler", metavar="SCHEDULER", help="one of the catalogue's for SDXL")
    submit.add_argument("--wait", action="store_true", help="wait for the results")
    submit.add_argument(
        "--timeout", metavar="SECONDS", type=float, help="wait no longer than this in all (default 900 for each job)"
    )
    submit.add_argument("--json", action="store_true", help="print the job, or a list of scenes, as JSON")
