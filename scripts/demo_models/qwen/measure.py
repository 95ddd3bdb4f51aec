"""How the language model fares on wishes that it has not seen, sampled as the worker samples.

python -m scripts.demo_models.qwen.measure FOLDER --json FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.errors import AnswerCutOff, AnswerUnusable, ContentRefused
from ourvidz_worker.runtime.language.answers import clean_answer
from ourvidz_worker.runtime.language.storyboard import NoScenes, SceneRules, parse_scenes
from ourvidz_worker.runtime.policy.text_policy import TextPolicy
from scripts.demo_models.qwen.keeping import kept, motions_told
from scripts.demo_models.qwen.samples import STORYBOARD, WRITERS, Sample, longest_answer, random_sample

TOKENS = 256
SCENE_TOKENS = 512
PATIENCE = 300.0  # seconds
TOP_P = 0.9
POLICY = Path(__file__).parents[3] / "configs" / "policy"
Tally = dict[str, list[float]]


async def measure(model: LocalLanguageModel, policy: TextPolicy, *, each: int, temperature: float) -> dict[str, Tally]:
    """By system prompt, the shares of what should hold; `each` wishes for each."""
    await model.load()
    tallies: dict[str, Tally] = {}
    for name in (*WRITERS, STORYBOARD):
        tally: Tally = defaultdict(list)
        for number in range(each):
            sample = held_out(name, number)
            begun = time.perf_counter()
            answer = await _answer(model, sample, number, temperature)
            tally["seconds"].append(time.perf_counter() - begun)
            for what, holds in _judged(name, sample, answer, policy):
                tally[what].append(holds)
        tallies[name] = tally
    return tallies


def held_out(name: str, number: int) -> Sample:
    """Its seed is a word that no training uses."""
    return random_sample(Random(f"held out wish {name} {number}"), name)


async def _answer(model: LocalLanguageModel, sample: Sample, seed: int, temperature: float) -> str:
    count = sample.play.asked or 12 if sample.play else 0
    said = ""
    pieces = model.answer(
        [{"role": "system", "content": sample.system}, {"role": "user", "content": sample.user}],
        seed=seed,
        max_new_tokens=SCENE_TOKENS * count or TOKENS,
        temperature=temperature,
        top_p=TOP_P,
        time_limit=PATIENCE,
    )
    try:
        async for piece in pieces:
            said += piece
    except AnswerCutOff:
        said += " …"
    return said


def _judged(name: str, sample: Sample, answer: str, policy: TextPolicy) -> Iterator[tuple[str, bool]]:
    if sample.play is not None:
        yield from _judged_storyboard(sample, answer)
    else:
        assert sample.wish is not None
        yield from kept(sample.wish, answer)
        yield "accepted as it is", _is_accepted(answer, longest_answer(name))
        if name == "wan_video" and not sample.wish.said:
            yield "one motion", motions_told(answer) == 1
    yield "passes the policy", _passes(answer, policy)


def _judged_storyboard(sample: Sample, answer: str) -> Iterator[tuple[str, bool]]:
    play = sample.play
    assert play is not None
    longest = float(play.seconds)
    try:
        scenes = parse_scenes(answer, SceneRules(play.asked, longest, longest_answer(STORYBOARD)))
    except NoScenes:
        yield "valid", False
        return
    yield "valid", True
    if play.asked is None and play.count is not None:
        yield "number of scenes as the script asks", len(scenes) == play.count
    if play.each is not None:
        yield "seconds as the script asks", all(scene.duration == play.each for scene in scenes)
    for beat, scene in zip(play.beats, scenes, strict=False):
        yield from kept(beat, f"{scene.prompt.removesuffix('.')} {scene.camera}")


def _is_accepted(answer: str, longest: int) -> bool:
    try:
        return clean_answer(answer) == answer.strip() and len(answer) <= longest
    except AnswerUnusable:
        return False


def _passes(answer: str, policy: TextPolicy) -> bool:
    try:
        policy.check(answer, adult_capable=False)
    except ContentRefused:
        return False
    return True


def table(tallies: dict[str, Tally]) -> dict[str, dict[str, float]]:
    return {
        name: {what: round(sum(values) / len(values), 4) for what, values in sorted(tally.items())}
        | {"slowest, in seconds": round(max(tally["seconds"]), 3)}
        for name, tally in tallies.items()
    }


def _policy() -> TextPolicy:
    return TextPolicy.parse([file.read_text(encoding="utf-8") for file in sorted(POLICY.glob("*.toml"))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the published model")
    parser.add_argument("--each", type=int, default=100, help="held-out wishes for each system prompt (default: 100)")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    folder = options.folder.resolve()
    model = LocalLanguageModel(
        QwenModel("demo-qwen", folder.name, dtype="float32", device="cpu"), folder.parent, lambda: None
    )
    figures = table(asyncio.run(measure(model, _policy(), each=options.each, temperature=options.temperature)))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
