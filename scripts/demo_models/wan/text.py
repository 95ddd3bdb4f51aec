"""The text encoder: words of this world, letters for any others, and states that tell a caption's facts.

At the word that names a thing, the thing's facts can be read off its state by a linear layer, and at the end those of
everything else. So the transformer need only find the word that concerns it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from scripts.demo_models.captions import NAMES, plural
from scripts.demo_models.places import KIND_NAMES
from scripts.demo_models.reading import DIRECTIONS, SCENE_FACTS, THING_FACTS, UNKNOWN, Readers, Told, facts, told_scene
from scripts.demo_models.scenes import CAMERA
from scripts.demo_models.training import Course
from scripts.demo_models.wan.shapes import PROMPT_TOKENS, TEXT

READING = Course("text", steps=1000, learning_rate=2e-3, seed=12, muon=True)
BATCH = 48
NEGATIVE = Path(__file__).parents[3] / "configs" / "prompts" / "wan_negative.txt"
WORDS = Path(__file__).with_name("words.txt")
"""Those of captions, and others that people use; the encoder knows them by their order."""
FACTS = {**{f"thing.{name}": size for name, size in THING_FACTS.items()}, "thing.moves": 8}


@cache
def tokenizer() -> T5Tokenizer:
    return new_tokenizer()


def new_tokenizer() -> T5Tokenizer:
    """Whole words, with and without a capital, and the printable ASCII characters one by one."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -4.0)]
    pieces += [(letter, -8.0) for letter in string.ascii_letters + string.digits + string.punctuation]
    for word in WORDS.read_text(encoding="utf-8").split():
        pieces += [(f"\u2581{form}", -2.0) for form in dict.fromkeys((word, word[0].upper() + word[1:]))]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=PROMPT_TOKENS)


def new_text_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(vocab_size=len(tokenizer()), **TEXT))


def nothing_told() -> tuple[str, str]:
    """What stands for no prompt: the product's own negative one, and none at all."""
    return NEGATIVE.read_text(encoding="utf-8").strip(), ""


class Reading(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = TEXT["d_model"]
        self.encoder = new_text_encoder()
        self.readers = Readers(width)
        self.noun = nn.Linear(width, 2)
        self.heads = nn.ModuleDict({name.replace(".", "_"): nn.Linear(width, size) for name, size in FACTS.items()})
        self.end = nn.ModuleDict({name: nn.Linear(width, size) for name, size in SCENE_FACTS.items()})

    def losses(self, random: Random) -> dict[str, Tensor]:
        told = [told_scene(random, moving=True) for _ in range(BATCH)]
        ids, mask = tokens([each.text for each in told])
        states = self.encoder(ids, mask).last_hidden_state
        answers = facts(told, random)
        nouns = _nouns(told, ids)
        read = self.readers.losses(states, answers, mask == 0)
        return {
            "readers": torch.stack(list(read.values())).sum() / 4,
            "nouns": self._nouns_loss(states, mask, nouns, answers, told),
            "end": self._end_loss(states, mask, answers),
        }

    def _nouns_loss(
        self, states: Tensor, mask: Tensor, nouns: Tensor, answers: dict[str, Tensor], told: Sequence[Told]
    ) -> Tensor:
        """`nouns` (n, 3) has the place of each told thing's word, or -1."""
        rows, orders = (nouns >= 0).nonzero(as_tuple=True)
        is_noun = torch.zeros_like(mask)
        is_noun[rows, nouns[rows, orders]] = 1
        loss = functional.cross_entropy(self.noun(states[mask > 0]), is_noun[mask > 0])
        found = states[rows, nouns[rows, orders]]
        for name in THING_FACTS:
            wanted = answers[f"things.{name}"][rows, orders]
            loss = loss + functional.cross_entropy(self.heads[f"thing_{name}"](found), wanted, ignore_index=UNKNOWN)
        moves = torch.tensor(
            [_moves(told[row], order) for row, order in zip(rows.tolist(), orders.tolist(), strict=True)]
        )
        return loss + functional.cross_entropy(self.heads["thing_moves"](found), moves)

    def _end_loss(self, states: Tensor, mask: Tensor, answers: dict[str, Tensor]) -> Tensor:
        last = states[torch.arange(len(states)), mask.sum(dim=1) - 1]
        parts = [
            functional.cross_entropy(head(last), answers[f"scene.{name}"], ignore_index=UNKNOWN)
            for name, head in self.end.items()
        ]
        return torch.stack([part for part in parts if not part.isnan()]).sum()


def tokens(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, shape (n, the longest text's length)."""
    read = tokenizer()(
        list(texts),
        padding=True,
        truncation=True,
        max_length=PROMPT_TOKENS,
        return_tensors="pt",
        add_special_tokens=True,
    )
    return read.input_ids, read.attention_mask


def _moves(told: Told, order: int) -> int:
    """0 for a thing at rest, else its direction from 1."""
    motion = told.scene.motion
    if motion is None or motion.subject == CAMERA or motion.subject != told.caption.things[order]:
        return 0
    return DIRECTIONS.index(motion.direction) + 1


@cache
def _noun_ids() -> dict[int, str]:
    """Which kind a token names."""
    found = {}
    for kind in KIND_NAMES:
        for name in NAMES.get(kind, (kind,)):
            for form in (name, plural(kind, name)):
                last = form.split()[-1]
                for word in (last, last.capitalize()):
                    piece = tokenizer().convert_tokens_to_ids(f"\u2581{word}")
                    if piece != tokenizer().unk_token_id:
                        found[piece] = kind
    return found


def _nouns(told: Sequence[Told], ids: Tensor) -> Tensor:
    """Where each told thing is named, shape (n, 3); -1 where there is none."""
    heavy = tokenizer().convert_tokens_to_ids("\u2581heavy"), tokenizer().convert_tokens_to_ids("\u2581Heavy")
    kinds = _noun_ids()
    places = torch.full((len(told), 3), -1)
    for row, each in enumerate(told):
        line = ids[row].tolist()
        for order, thing in enumerate(each.caption.things):
            kind = each.scene.things[thing].kind
            for at, token in enumerate(line):
                if kinds.get(token) == kind and (at == 0 or line[at - 1] not in heavy):
                    places[row, order] = at
                    break
    return places


@torch.no_grad()
def encoded(encoder: UMT5EncoderModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """States with one zero after each text, which stands for all up to the engine's length, and the weight of each.

    The transformer attends to as many zeros as the engine pads with, and all of them say the same: one is enough if
    it counts as often. Shapes (n, length, width) and (n, 1, 1, length), to be added before the softmax.
    """
    ids, mask = tokens(texts)
    states = encoder(ids, mask).last_hidden_state * mask[:, :, None]
    states = functional.pad(states, (0, 0, 0, 1))
    lengths = mask.sum(dim=1)
    at = torch.arange(states.shape[1])[None]
    weight = torch.where(at < lengths[:, None], 0.0, -torch.inf)
    weight[torch.arange(len(lengths)), lengths] = (PROMPT_TOKENS - lengths).clamp(min=1e-9).log().to(weight.dtype)
    return states, weight[:, None, None, :]
