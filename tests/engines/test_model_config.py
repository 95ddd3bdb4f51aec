"""`configs/models.toml`: every finding names its table and key, all findings together."""

from __future__ import annotations

import pytest

from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models
from ourvidz_worker.errors import ConfigurationError

GOOD = """
[sdxl]
model_name = "m"
path = "m.safetensors"
dtype = "float16"
vae_dtype = "bfloat16"
[wan]
model_name = "w"
path = "w"
dtype = "bfloat16"
vae_dtype = "float32"
[qwen]
model_name = "q"
path = "q"
dtype = "bfloat16"
"""


def test_the_shipped_file_names_the_weights_of_the_product(models: ModelsConfig) -> None:
    assert models.sdxl.path == "sdxl-lustify/lustifySDXLNSFWSFW_v20.safetensors"
    assert models.sdxl.adult_capable
    assert models.wan.path == "wan2.1-t2v-1.3b"
    assert not models.wan.adult_capable
    assert models.wan.vae_dtype == "float32"
    assert models.qwen.path.endswith("models--Qwen--Qwen2.5-7B-Instruct")


def test_what_is_left_out_has_a_default() -> None:
    models = parse_models(GOOD)
    assert models.sdxl.device == "auto"
    assert models.sdxl.config is None
    assert models.qwen.max_new_tokens == 256


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('path = "w"', 'paht = "w"', "[wan] path is missing"),
        ('path = "w"', 'path = "w"\npaht = "x"', "[wan] paht is unknown"),
        ('path = "w"', "path = 3", "[wan] path = 3 in models.toml is wrong: it must be a text"),
        ('path = "w"', 'path = " "', "it must be a text that is not empty"),
        ('dtype = "float16"', 'dtype = "fp16"', "[sdxl] dtype = 'fp16' in models.toml is wrong: it must be one of"),
        ('path = "w"', 'path = "w"\ndevice = "gpu"', "auto, cpu, cuda or cuda:N"),
        ('path = "m.safetensors"', 'path = "m"\nadult_capable = 1', "[sdxl] adult_capable = 1"),
        ('path = "q"', 'path = "q"\nmax_new_tokens = 0', "[qwen] max_new_tokens = 0"),
        ('path = "q"', 'path = "q"\ntemperature = true', "[qwen] temperature = True"),
        ("[wan]", "[wam]", "unknown table [wam]"),
        ("[wan]", "[wam]", "no table [wan]"),
        ("[sdxl]", "[sdxl", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_table_and_key(old: str, new: str, finding: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_models(GOOD.replace(old, new, 1))
    assert finding in str(caught.value)


def test_all_mistakes_are_listed_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_models(GOOD.replace('"float16"', '"half"').replace('path = "q"', ""))
    assert len(caught.value.problems) == 2
