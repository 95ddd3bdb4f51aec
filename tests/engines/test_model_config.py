"""`configs/models.toml`: every finding names its table and key, all findings together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models
from ourvidz_worker.engines.volume.tiers import EXACT, Tier
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
[sources.q]
repository = "org/name"
revision = "0123456789012345678901234567890123456789"
path = "q"
files = [{ name = "config.json", bytes = 3 }, { name = "model.safetensors" }]
"""


def test_the_shipped_file_names_the_weights_of_the_product(models: ModelsConfig) -> None:
    assert models.sdxl.path == "sdxl-lustify/lustifySDXLNSFWSFW_v20.safetensors"
    assert models.sdxl.adult_capable
    assert models.wan.path == "wan2.1-t2v-1.3b"
    assert not models.wan.adult_capable
    assert models.wan.vae_dtype == "float32"
    assert models.qwen.path.endswith("models--Qwen--Qwen2.5-7B-Instruct")


def test_nothing_deviates_unless_it_is_asked_to(models: ModelsConfig) -> None:
    for model in (models.sdxl, models.wan, parse_models(GOOD).sdxl, parse_models(GOOD).wan):
        assert (model.tier, model.attention, model.compile) == (EXACT, "auto", "auto")
    assert models.wan.vae_decode_dtype == "bfloat16"


def test_a_tier_is_what_its_table_says() -> None:
    shipped = (Path(__file__).parents[2] / "configs" / "models.toml").read_text()
    turbo = parse_models(shipped.replace('tier = "exact"', 'tier = "turbo"'))
    assert turbo.sdxl.tier == Tier("turbo", guidance_until=0.5, deep_cache=3)
    assert turbo.wan.tier == Tier("turbo", guidance_until=0.5, first_block_cache=0.04, attention="sage")
    balanced = parse_models(shipped.replace('tier = "exact"', 'tier = "balanced"'))
    assert balanced.sdxl.tier == balanced.wan.tier == Tier("balanced", guidance_until=0.5)
    distilled = 'tier = "few"\n[wan.tiers.few]\ndistilled_lora = "l"\nnum_inference_steps = 8\nguidance_scale = 1'
    own = parse_models(
        GOOD.replace('path = "w"', 'path = "w"\nattention = "sdpa"\ncompile = "off"', 1).replace(
            "[qwen]", f"{distilled}\n[qwen]"
        )
    )
    assert own.wan.tier == Tier("few", distilled_lora="l", num_inference_steps=8, guidance_scale=1)
    assert (own.wan.attention, own.wan.compile) == ("sdpa", "off")


def test_a_tier_declares_its_measures() -> None:
    assert EXACT.details == {}
    turbo = Tier("turbo", guidance_until=0.5, first_block_cache=0.04)
    assert turbo.details == {"tier": "turbo", "tier_measures": {"guidance_until": 0.5, "first_block_cache": 0.04}}


def test_the_shipped_sources_are_whole(models: ModelsConfig) -> None:
    sizes = {source.name: round(source.bytes / 1e9, 1) for source in models.sources}
    assert sizes == {
        "sdxl-base": 6.9,
        "sdxl-vae": 0.3,
        "image-encoder": 2.5,
        "ip-adapter": 0.7,
        "ip-adapter-face": 0.8,
        "controlnet": 2.5,
        "wan": 28.9,
        "wan-vace": 7.1,
        "qwen": 15.2,
    }
    weights = [file for source in models.sources for file in source.files if file.name.endswith(".safetensors")]
    assert len(weights) == 20
    assert all(file.bytes and file.sha256 for file in weights)


def test_a_source_says_where_a_file_is_and_where_it_belongs() -> None:
    [source] = parse_models(GOOD).sources
    commit = "0123456789012345678901234567890123456789"
    assert source.address(source.files[0]) == f"org/name/resolve/{commit}/config.json"
    assert source.place(source.files[0], Path("/models")) == Path("/models/q/config.json")
    part = replace(source, folder="a/b", path="hub/models--org--name")
    assert part.address(part.files[0]) == f"org/name/resolve/{commit}/a/b/config.json"
    assert part.place(part.files[0], Path("/m")) == Path(f"/m/hub/models--org--name/snapshots/{commit}/config.json")


def test_a_source_serves_a_key_with_its_path_or_with_one_of_its_files() -> None:
    [source] = parse_models(GOOD).sources
    assert source.provides("q")
    assert source.provides("q/model.safetensors")
    assert not source.provides("q/other.safetensors")
    assert not source.provides("q2")


def test_what_is_left_out_has_a_default() -> None:
    models = parse_models(GOOD)
    shipped = parse_models(GOOD.replace("[wan]", 'config = "own"\n[wan]'), configs={"sdxl": "sdxl", "wan": "wan"})
    assert (shipped.sdxl.config, shipped.wan.config) == ("own", "wan")
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
        ('path = "w"', 'path = "w"\nattention = "fast"', "[wan] attention = 'fast' in models.toml is wrong"),
        ('path = "w"', 'path = "w"\ncompile = true', "[wan] compile = True in models.toml is wrong: it must be one of"),
        ('path = "w"', 'path = "w"\nvae_decode_dtype = "fp8"', "[wan] vae_decode_dtype = 'fp8'"),
        ('path = "w"', 'path = "w"\ntier = "turbo"', "[wan] tier = 'turbo' in models.toml is wrong: it must be one of"),
        ('path = "w"', 'path = "w"\ntier = 3', "[wan] tier = 3 in models.toml is wrong"),
        ('path = "w"', 'path = "w"\ntiers = 3', "[wan] tiers in models.toml must be tables [wan.tiers.NAME]"),
        ('path = "q"', 'path = "q"\ntier = "exact"', "[qwen] tier is unknown"),
        ("[qwen]", "[wan.tiers]\nfast = 1\n[qwen]", "[wan.tiers] fast in models.toml must be a table [wan.tiers.fast]"),
        ("[qwen]", "[wan.tiers.exact]\n[qwen]", "[wan.tiers.exact] in models.toml must go"),
        ("[qwen]", "demo = 1\n[qwen]", "unknown in models.toml"),
        ("[qwen]", "[demo.files]\n[qwen]", "models.toml has no table [demo.wan]"),
        ("[qwen]", "[demo.flux]\n[qwen]", "models.toml has an unknown table [demo.flux]; below [demo] it may hold"),
        ("[qwen]", '[demo.wan]\npath = ""\n[qwen]', "[demo.wan] path = '' in models.toml is wrong"),
        ("[qwen]", '[demo.wan]\ntier = "fast"\n[qwen]', "or have a table [demo.wan.tiers.NAME]"),
        ("[qwen]", '[demo.files]\n"../x" = 1\n[qwen]', "it must be a path inside the folder of the models"),
        ("[qwen]", '[demo.files]\n"a/b" = { bytes = 1 }\n[qwen]', '[demo.files] "a/b" in models.toml must be bytes'),
        (
            "[qwen]",
            "[wan.tiers.t]\ndeep_cache = 3\n[qwen]",
            "[wan.tiers.t] deep_cache is unknown in models.toml; known",
        ),
        ("[qwen]", "[sdxl.tiers.t]\nfirst_block_cache = 0.1\n[qwen]", "[sdxl.tiers.t] first_block_cache is unknown"),
        ("[qwen]", "[sdxl.tiers.t]\ndeep_cache = 1\n[qwen]", "[sdxl.tiers.t] deep_cache = 1 in models.toml is wrong"),
        ("[qwen]", "[wan.tiers.t]\nguidance_until = 0\n[qwen]", "[wan.tiers.t] guidance_until = 0 in models.toml is"),
        ("[qwen]", "[wan.tiers.t]\nfirst_block_cache = true\n[qwen]", "it must be a threshold between 0 and 1"),
        ("[qwen]", '[wan.tiers.t]\nattention = "s"\n[qwen]', "[wan.tiers.t] attention = 's' in models.toml is wrong"),
        (
            "[qwen]",
            "[wan.tiers.t]\nguidance_scale = 1\n[qwen]",
            "has guidance_scale in models.toml without distilled_lora and num_inference_steps: they go together",
        ),
        (
            "[qwen]",
            "[card]\nbudget_gb = 0\n[qwen]",
            "[card] budget_gb = 0 in models.toml is wrong: it must be a number",
        ),
        ("[qwen]", "[card]\nbudget_gb = inf\n[qwen]", "[card] budget_gb = inf in models.toml is wrong"),
        ("[qwen]", "[card]\nbudget = 44\n[qwen]", "[card] budget is unknown in models.toml; known are budget_gb"),
        ("[wan]", "[wam]", "unknown table [wam]"),
        ("[wan]", "[wam]", "no table [wan]"),
        ("[sdxl]", "[sdxl", "not valid TOML"),
        ('repository = "org/name"', 'repository = "name"', "[sources.q] repository = 'name' in models.toml is wrong"),
        ('repository = "org/name"', "", "[sources.q] repository is missing"),
        ('revision = "0123', 'revision = "main', "it must be a commit of 40 hexadecimal digits"),
        ('path = "q"\nfiles', 'path = "../q"\nfiles', "[sources.q] path = '../q' in models.toml is wrong"),
        ('path = "q"\nfiles', 'path = "/q"\nfiles', "it must be a path inside the models folder"),
        ('path = "q"\nfiles', 'path = "q"\nfolder = ""\nfiles', "[sources.q] folder = ''"),
        ('path = "q"\nfiles', 'path = "q"\nurl = "x"\nfiles', "[sources.q] url is unknown in models.toml; known are"),
        ('"config.json", bytes = 3', '"a/../../b"', "[sources.q] files: name = 'a/../../b' in models.toml is wrong"),
        ("bytes = 3", "bytes = 0", "[sources.q] files: bytes = 0 in models.toml is wrong: it must be a whole number"),
        ("bytes = 3", "bytes = true", "[sources.q] files: bytes = True"),
        ("bytes = 3", 'sha256 = "abc"', "it must be 64 hexadecimal digits"),
        ("bytes = 3", 'size = "abc"', "[sources.q] files: size = 'abc' in models.toml is wrong: it must be left out"),
        ('name = "config.json", bytes = 3', "bytes = 3", "[sources.q] files: entry 1 in models.toml must be a table"),
        ("files = [", "files = [] #", "[sources.q] files in models.toml must be a list of tables"),
        ("[sources.q]", "[sources]", "[sources] repository in models.toml must be a table [sources.repository]"),
    ],
)
def test_a_mistake_is_named_with_its_table_and_key(old: str, new: str, finding: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_models(GOOD.replace(old, new, 1))
    assert finding in str(caught.value)


def test_a_card_may_have_a_budget_and_needs_none() -> None:
    assert parse_models(GOOD).card.bytes is None
    assert parse_models(GOOD.replace("[qwen]", "[card]\nbudget_gb = 44.5\n[qwen]")).card.bytes == 44_500_000_000


def test_all_mistakes_are_listed_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_models(
            GOOD.replace('"float16"', '"half"')
            .replace('path = "q"', "")
            .replace("[qwen]", '[wan.tiers.t]\nattention = "s"\ndeep_cache = 3\n[qwen]')
        )
    assert len(caught.value.problems) == 5
