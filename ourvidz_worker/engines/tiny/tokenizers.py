"""Tokenizers with a few hundred entries, of the classes that the real models use."""

from __future__ import annotations

import string

from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_WORDS = (
    "amber autumn blue bright calm clear close cloud coast dawn deep distant drifting dusk evening field fine "
    "fog forest frame gentle glass glow golden grain green grey harbour high hills hour light long low misty "
    "moon morning mountain night ocean open pale path quiet rain red reflection rising river rock sand sea "
    "shadow sharp shore silver sky slow snow soft spring stone storm summer sun tall texture tide tree valley "
    "view violet warm water wave white wide wind window winter wood"
)
QWEN_WORDS = tuple(_WORDS.split())


def clip_tokenizer(pad_token: str) -> CLIPTokenizer:
    """Single bytes, and the same at the end of a word; long enough for any prompt."""
    letters = _byte_letters()
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77, pad_token=pad_token)


def t5_tokenizer() -> T5Tokenizer:
    """The printable ASCII characters, one token each; anything else is unknown."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -5.0) for letter in string.ascii_letters + string.digits + string.punctuation]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Single bytes for reading any prompt, and whole words for an answer that a person can read."""
    pieces = [*_byte_letters(), *("\u0120" + word for word in QWEN_WORDS), "<|endoftext|>"]
    tokenizer = Qwen2Tokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[],
        eos_token="<|im_end|>",  # noqa: S106 - a token of the vocabulary, no secret
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=2048,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _byte_letters() -> list[str]:
    """A printable letter per byte value: byte-level vocabularies write the others as letters from 256 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
