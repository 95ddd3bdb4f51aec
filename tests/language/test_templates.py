"""The texts of `configs/prompts/`: one per family and medium, in one or more languages, and what is wrong in them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import BadJob, ConfigurationError
from ourvidz_worker.runtime.language.templates import Templates, wan_negative

WHOLE = 'system = "x"\nmax_characters = 5\nlanguage = "en"\n[languages]\nen = "English"\n'


def test_each_family_and_medium_has_its_own_template(catalogue: Catalogue, prompts: Mapping[str, str]) -> None:
    templates = Templates(prompts)
    image = templates.rewriting(catalogue["image7b_fast_enhanced"])
    video = templates.rewriting(catalogue["video7b_fast_enhanced"])
    sdxl = templates.rewriting(catalogue["sdxl_image_fast"])
    assert "77 tokens" in sdxl.system
    assert "no movement of the camera" in image.system
    assert "camera exactly one behaviour" in " ".join(video.system.split())
    assert (sdxl.name, image.name, video.name) == ("sdxl_image", "wan_image", "wan_video")


@pytest.mark.parametrize("name", ["image_fast", "video_fast"])
def test_wan_has_english_chinese_and_both(catalogue: Catalogue, prompts: Mapping[str, str], name: str) -> None:
    templates = Templates(prompts)
    english, chinese, both = (templates.rewriting(catalogue[name], choice) for choice in ("en", "zh", "bilingual"))
    assert templates.rewriting(catalogue[name]) == english
    assert "in English" in english.system
    assert "in simplified Chinese" in chinese.system
    assert "twice" in both.system
    assert len({english.version, chinese.version, both.version}) == 3


def test_the_template_file_chooses_the_language_of_jobs(catalogue: Catalogue, prompts: Mapping[str, str]) -> None:
    edited = prompts["wan_video"].replace('language = "en"', 'language = "bilingual"')
    templates = Templates({**prompts, "wan_video": edited})
    assert templates.rewriting(catalogue["video_fast"]).language == "bilingual"


def test_sdxl_reads_english_alone(catalogue: Catalogue, prompts: Mapping[str, str]) -> None:
    with pytest.raises(BadJob, match="language must be one of en for sdxl_image, got 'zh'") as caught:
        Templates(prompts).rewriting(catalogue["sdxl_image_fast"], "zh")
    assert caught.value.field == "language"


def test_an_edited_text_or_limit_is_another_version(catalogue: Catalogue, prompts: Mapping[str, str]) -> None:
    def version(text: str) -> str:
        return Templates({**prompts, "wan_video": text}).rewriting(catalogue["video_fast"]).version

    shipped = prompts["wan_video"]
    assert version(shipped) == version(shipped)
    assert version(shipped.replace("short video ideas", "video ideas")) != version(shipped)
    assert version(shipped.replace("max_characters = 1800", "max_characters = 1801")) != version(shipped)


def test_a_storyboard_is_told_how_many_scenes_and_seconds(prompts: Mapping[str, str]) -> None:
    template = Templates(prompts).storyboard(scenes="exactly 4 scenes", seconds="5")
    assert "Make exactly 4 scenes" in template.system
    assert "at most 5 seconds" in template.system
    assert "$" not in template.system
    assert template.correction


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "missing or empty"),
        ("system = [", "not valid TOML"),
        (WHOLE.replace('system = "x"', 'system = " "'), "system in prompts/wan_video.toml must be a text"),
        ("other = 1\n" + WHOLE, "unknown keys: other"),
        (WHOLE.replace("5", "0"), "max_characters = 0 in prompts/wan_video.toml is wrong"),
        (WHOLE.replace("5", "true"), "max_characters = True in prompts/wan_video.toml is wrong"),
        (WHOLE.replace('language = "en"', 'language = "fr"'), "language = 'fr' in prompts/wan_video.toml"),
        (WHOLE.partition("[languages]")[0], "needs a table [languages]"),
        (WHOLE.replace('en = "English"', "en = 1"), "needs a table [languages]"),
    ],
)
def test_a_wrong_template_is_named(prompts: Mapping[str, str], text: str, finding: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Templates({**prompts, "wan_video": text})
    assert "prompts/wan_video.toml" in str(caught.value)
    assert finding in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [("$scenes", "some"), ("$seconds", "$minutes"), ("Keep what", "Spend $5 on what")],
)
def test_a_storyboard_without_its_words_or_with_others_is_wrong(prompts: Mapping[str, str], old: str, new: str) -> None:
    with pytest.raises(ConfigurationError, match=r"storyboard\.toml must use \$scenes and \$seconds"):
        Templates({**prompts, "storyboard": prompts["storyboard"].replace(old, new)})


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Templates({})
    assert len(caught.value.problems) == 4


def test_wan_s_negative_prompt_is_the_published_one(prompts: Mapping[str, str]) -> None:
    assert wan_negative(prompts).startswith("色调艳丽")
    assert wan_negative(prompts).endswith("倒着走")
    with pytest.raises(ConfigurationError, match=r"prompts/wan_negative\.txt is missing"):
        wan_negative({})
