"""The environment: validated once, every problem in one list, secrets in none of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ourvidz_worker.backend.objects.places import Folder, S3Bucket
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import QwenSettings, Settings, load_settings, pod_settings, read_settings
from ourvidz_worker.settings.values import state_folder

SERVICE_KEY, TOKEN, SECRET = "service-key-7f3a", "redis-token-9b21", "callback-secret-c4d8"
NEEDED = {
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_SERVICE_KEY": SERVICE_KEY,
    "UPSTASH_REDIS_REST_URL": "https://name.upstash.io",
    "UPSTASH_REDIS_REST_TOKEN": TOKEN,
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OURVIDZ_", "SUPABASE_", "UPSTASH_", "JOB_CALLBACK_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def problems() -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return caught.value.problems


@pytest.mark.usefixtures("complete")
def test_the_products_four_variables_are_enough() -> None:
    settings = load_settings()
    assert settings.supabase_url == "https://project.supabase.co"
    assert settings.supabase_service_key.get_secret_value() == SERVICE_KEY
    assert settings.redis_rest_url == "https://name.upstash.io"
    assert settings.redis_rest_token.get_secret_value() == TOKEN


@pytest.mark.usefixtures("complete")
def test_a_tilde_is_the_home_folder_also_where_no_shell_has_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_MODELS_DIR", "~/models")
    monkeypatch.setenv("OURVIDZ_SPOOL", "~/spool")
    settings = load_settings()
    assert (settings.models_dir, settings.spool_dir) == (Path.home() / "models", Path.home() / "spool")
    monkeypatch.setenv("OURVIDZ_SPOOL", "~nobody-of-this-name/spool")
    (problem,) = problems()
    assert problem.startswith(
        "OURVIDZ_SPOOL is wrong: begins with ~, and no home folder is known; write the whole path"
    )


@pytest.mark.usefixtures("complete")
def test_the_defaults_are_those_of_the_contract() -> None:
    """Profile 2025-07; pop from the right; 2 s and 5 s; 15 minutes; 60 s; restarts after 10 s and 15 s, 5 in a row."""
    settings = load_settings()
    assert (settings.callback_profile, settings.pop_end, settings.queue_mode) == ("2025-07", "right", "held")
    assert (settings.poll_interval("sdxl"), settings.poll_interval("wan")) == (2.0, 5.0)
    assert (settings.job_deadline, settings.enhancement_limit) == (900.0, 60.0)
    assert (settings.restart_delay("sdxl"), settings.restart_delay("wan")) == (10.0, 15.0)
    assert (settings.restart_limit, settings.workers, settings.models) == (5, ("sdxl", "wan"), "real")


def test_every_missing_variable_is_listed_with_its_cure() -> None:
    found = problems()
    assert [problem.split()[0] for problem in found] == list(NEEDED)
    assert all("is not set: set it" in problem for problem in found)
    assert "SUPABASE_SERVICE_ROLE_KEY" in found[1]


def test_missing_and_wrong_variables_are_listed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "project.supabase.co")
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", TOKEN)
    monkeypatch.setenv("OURVIDZ_CALLBACK_PROFILE", "2026-02")
    monkeypatch.setenv("OURVIDZ_WORKERS", "sdxl,flux")
    monkeypatch.setenv("OURVIDZ_JOB_DEADLINE", "-1")
    monkeypatch.setenv("OURVIDZ_RESTART_LIMIT", "many")
    assert {problem.split()[0] for problem in problems()} == {
        "SUPABASE_URL",
        "SUPABASE_SERVICE_KEY",
        "UPSTASH_REDIS_REST_URL",
        "JOB_CALLBACK_SECRET",
        "OURVIDZ_WORKERS",
        "OURVIDZ_JOB_DEADLINE",
        "OURVIDZ_RESTART_LIMIT",
    }


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("name", NEEDED)
def test_an_empty_variable_is_a_missing_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Container platforms set what was left empty in a form to the empty string."""
    monkeypatch.setenv(name, "")
    (problem,) = problems()
    assert problem.startswith(f"{name} is not set")


@pytest.mark.usefixtures("complete")
def test_an_empty_setting_of_ours_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_MODELS", "")
    assert load_settings().models == "real"


@pytest.mark.usefixtures("complete")
def test_the_service_key_has_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_KEY")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "the other name")
    assert load_settings().supabase_service_key.get_secret_value() == "the other name"


@pytest.mark.usefixtures("complete")
def test_an_empty_first_name_does_not_hide_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "the other name")
    assert load_settings().supabase_service_key.get_secret_value() == "the other name"


@pytest.mark.usefixtures("complete")
def test_the_first_name_wins_when_both_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "the other name")
    assert load_settings().supabase_service_key.get_secret_value() == SERVICE_KEY


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OURVIDZ_CALLBACK_PROFILE", "2024-01", "'2025-07' or '2026-02'"),
        ("OURVIDZ_MODELS", "huge", "'real', 'tiny', 'testcard' or 'demo'"),
        ("OURVIDZ_POP_END", "middle", "'right' or 'left'"),
        ("OURVIDZ_REFERENCE_FIT", "stretch", "'crop' or 'pad'"),
        ("OURVIDZ_QUEUE_MODE", "brpop", "'held' or 'rpop'"),
        ("OURVIDZ_LONGEST_WAIT", "-1", "greater than or equal to 0"),
        ("OURVIDZ_LONGEST_WAIT", "inf", "less than or equal to 86400"),
        ("OURVIDZ_SDXL_POLL", "0", "greater than 0"),
        ("OURVIDZ_POLL_LIMIT", "-1", "greater than or equal to 0"),
        ("OURVIDZ_SDXL_BATCH", "0", "greater than or equal to 1"),
        ("OURVIDZ_SDXL_BATCH", "25", "less than or equal to 24"),
        ("OURVIDZ_RESTART_LIMIT", "0", "greater than or equal to 1"),
        ("OURVIDZ_SPOOL_RESERVE", "-1", "greater than or equal to 0"),
        ("OURVIDZ_LOG_LEVEL", "loud", "'debug'"),
        ("OURVIDZ_THUMBNAILS", "yes", "'on' or 'off'"),
        ("OURVIDZ_VIDEO_ENCODER", "h264", "'auto', 'x264' or 'nvenc'"),
        ("OURVIDZ_C2PA_ALGORITHM", "rsa", "'es256', 'es384'"),
        ("OURVIDZ_EMBED", "everything", "'prompt', 'user_id', 'job_id' or 'seed'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    (problem,) = problems()
    assert problem.startswith(f"{name} is wrong: ")
    assert expected in problem
    assert problem.endswith(f"got {value!r}")


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("value", ["", "2026-02"])
def test_signed_callbacks_need_their_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Profile 2026-02 is signed with JOB_CALLBACK_SECRET (contract section 5); 2025-07 is not."""
    monkeypatch.setenv("OURVIDZ_CALLBACK_PROFILE", value)
    monkeypatch.setenv("JOB_CALLBACK_SECRET", "")
    if not value:
        assert load_settings().callback_secret is None
        return
    (problem,) = problems()
    assert problem.startswith("JOB_CALLBACK_SECRET is not set: profile 2026-02")
    monkeypatch.setenv("JOB_CALLBACK_SECRET", SECRET)
    assert load_settings().callback_profile == "2026-02"


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    ("value", "expected"),
    [("wan", ("wan",)), (" wan , sdxl ", ("wan", "sdxl")), ("sdxl,wan,qwen", ("sdxl", "wan", "qwen"))],
)
def test_workers_are_a_list(monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]) -> None:
    monkeypatch.setenv("OURVIDZ_WORKERS", value)
    assert load_settings().workers == expected


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("value", [",", "flux", "sdxl;wan"])
def test_workers_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OURVIDZ_WORKERS", value)
    (problem,) = problems()
    assert problem.startswith("OURVIDZ_WORKERS is wrong")


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    ("value", "expected"), [("", ()), (" CDN.example.com , *.example.org ", ("cdn.example.com", "*.example.org"))]
)
def test_reference_hosts_are_a_list(monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]) -> None:
    monkeypatch.setenv("OURVIDZ_REFERENCE_HOSTS", value)
    assert load_settings().reference_hosts == expected


@pytest.mark.usefixtures("complete")
def test_each_wrong_reference_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_REFERENCE_HOSTS", "cdn.example.com,10.0.0.1,https://a.example")
    (problem,) = problems()
    assert problem.startswith("OURVIDZ_REFERENCE_HOSTS is wrong: '10.0.0.1', 'https://a.example' cannot be allowed;")


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("name", ["SUPABASE_URL", "UPSTASH_REDIS_REST_URL"])
@pytest.mark.parametrize("value", ["project.supabase.co", "ftp://project", "redis://default:pass@host:6379"])
def test_an_address_that_is_none_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A Redis address of the other kind carries a password."""
    monkeypatch.setenv(name, value)
    (problem,) = problems()
    assert problem.startswith(f"{name} is wrong: must begin with https://")
    assert value not in problem


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("name", ["SUPABASE_URL", "UPSTASH_REDIS_REST_URL"])
@pytest.mark.parametrize(
    "value", [f"https://x.io/?_token={TOKEN}", f"https://x:{TOKEN}@x.io", f"https://x.io/#{TOKEN}"]
)
def test_an_address_with_a_token_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Addresses end up in logs, here and on the way."""
    monkeypatch.setenv(name, value)
    (problem,) = problems()
    assert problem.startswith(f"{name} is wrong: must be the address alone")
    assert TOKEN not in problem


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("name", ["SUPABASE_SERVICE_KEY", "UPSTASH_REDIS_REST_TOKEN"])
@pytest.mark.parametrize("value", ["first-line\nsecond-line", "\u201ccurly\u201d", "nul\x7f"])
def test_a_secret_that_no_header_can_carry_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (problem,) = problems()
    assert problem == f"{name} is wrong: holds a character that no header can carry, like a line break or a curly quote"


@pytest.mark.usefixtures("complete")
def test_a_slash_at_the_end_of_an_address_does_not_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co/")
    assert load_settings().supabase_url == "https://project.supabase.co"


@pytest.mark.usefixtures("complete")
def test_secrets_stay_out_of_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets never appear in logs or errors; `secrets` lists them so that logging can strike them out."""
    monkeypatch.setenv("JOB_CALLBACK_SECRET", SECRET)
    settings = load_settings()
    assert set(settings.secrets) == {SERVICE_KEY, TOKEN, SECRET}
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert not any(secret in shown for secret in settings.secrets)


def test_secrets_stay_out_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SERVICE_KEY)
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", TOKEN)
    monkeypatch.setenv("SUPABASE_URL", "wrong")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert SERVICE_KEY not in f"{caught.value!r}"
    assert TOKEN not in f"{caught.value!r}"
    assert caught.value.__suppress_context__, "a traceback shows nothing of the validator's error either"


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    ("value", "expected"), [("", set()), ("seed", {"seed"}), (" prompt, job_id,", {"prompt", "job_id"})]
)
def test_what_files_may_say_of_their_job_is_a_list(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: set[str]
) -> None:
    monkeypatch.setenv("OURVIDZ_EMBED", value)
    assert load_settings().embed == expected


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("name", ["OURVIDZ_C2PA_CERTIFICATE", "OURVIDZ_C2PA_KEY"])
def test_a_certificate_and_its_key_go_together(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/secrets/file.pem")
    (problem,) = problems()
    assert problem.startswith("OURVIDZ_C2PA_CERTIFICATE and OURVIDZ_C2PA_KEY go together")


@pytest.mark.usefixtures("complete")
def test_the_address_of_a_timestamp_service_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURVIDZ_C2PA_TIMESTAMP_URL", f"https://name:{SECRET}@stamps.example")
    (problem,) = problems()
    assert problem.startswith("OURVIDZ_C2PA_TIMESTAMP_URL is wrong: must be the address alone")
    assert SECRET not in problem


ELSEWHERE = {
    "OURVIDZ_QUEUE_URL": "redis://user:p%40ss-4f1c@redis.internal:6380/2",
    "OURVIDZ_STORE_URL": "file:///workspace/results",
    "OURVIDZ_REPORT_URL": "https://product.example/hooks/jobs",
    "JOB_CALLBACK_SECRET": SECRET,
}


class TestBackendsByUrl:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in ELSEWHERE.items():
            monkeypatch.setenv(name, value)

    def test_nothing_of_supabase_or_upstash_is_needed_then(self) -> None:
        settings = load_settings()
        assert (settings.supabase_url, settings.redis_rest_url) == ("", "")
        assert settings.store == Folder(Path("/workspace/results"))
        assert settings.report_url == "https://product.example/hooks/jobs"

    @pytest.mark.parametrize(
        ("missing", "needed"),
        [
            ("OURVIDZ_QUEUE_URL", ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"]),
            ("OURVIDZ_STORE_URL", ["SUPABASE_URL", "SUPABASE_SERVICE_KEY"]),
            ("OURVIDZ_REPORT_URL", ["SUPABASE_URL", "SUPABASE_SERVICE_KEY"]),
            ("JOB_CALLBACK_SECRET", ["JOB_CALLBACK_SECRET"]),
        ],
    )
    def test_each_is_needed_while_something_uses_it(
        self, monkeypatch: pytest.MonkeyPatch, missing: str, needed: list[str]
    ) -> None:
        monkeypatch.setenv(missing, "")
        found = problems()
        assert [problem.split()[0] for problem in found] == needed
        assert all("is not set" in problem for problem in found)

    def test_a_wrong_address_is_named_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it should have replaced is no second problem."""
        monkeypatch.setenv("OURVIDZ_QUEUE_URL", "redis.internal:6379")
        monkeypatch.setenv("OURVIDZ_STORE_URL", "gs://results")
        monkeypatch.setenv("OURVIDZ_REPORT_URL", "product.example")
        assert [problem.split()[0] for problem in problems()] == [
            "OURVIDZ_QUEUE_URL",
            "OURVIDZ_STORE_URL",
            "OURVIDZ_REPORT_URL",
        ]

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("OURVIDZ_QUEUE_URL", "https://x.upstash.io", "is a REST address, and must begin with redis://"),
            ("OURVIDZ_QUEUE_URL", "unix:///run/redis.sock", "must begin with redis:// or, with TLS, rediss://"),
            ("OURVIDZ_QUEUE_URL", "redis://", "names no host"),
            ("OURVIDZ_QUEUE_URL", "redis://:s3cret@", "names no host"),
            ("OURVIDZ_QUEUE_URL", "redis://:s3cret#1@host", "has a port that is none; in a password write"),
            ("OURVIDZ_QUEUE_URL", "redis://:s3cret/1@host", "has a port that is none; in a password write"),
            ("OURVIDZ_QUEUE_URL", "redis://host:0/s3cret", "has a port that is none"),
            ("OURVIDZ_QUEUE_URL", "redis://host/jobs", "must end with the number of the database"),
            ("OURVIDZ_QUEUE_URL", "redis://host/0?password=s3cret", "must end with the number of the database"),
            ("OURVIDZ_STORE_URL", "s3://key:s3cret@results", "must hold no keys: set AWS_ACCESS_KEY_ID"),
            ("OURVIDZ_REPORT_URL", "http://product.example", "must begin with https://, but for this machine"),
            ("OURVIDZ_REPORT_URL", "https://u:s3cret@product.example", "must be the address alone"),
            ("OURVIDZ_REPORT_URL", "https://product.example?key=s3cret", "must be the address alone"),
        ],
    )
    def test_what_is_wrong_with_an_address_is_one_sentence_that_does_not_repeat_it(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
    ) -> None:
        monkeypatch.setenv(name, value)
        (problem,) = problems()
        assert problem.startswith(f"{name} is wrong: {says}")
        assert "s3cret" not in problem

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://localhost/hook", "http://[::1]/hook"])
    def test_reports_to_this_machine_may_go_without_tls(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("OURVIDZ_REPORT_URL", url)
        assert load_settings().report_url == url

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"),
            ({"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together"),
            ({"AWS_SECRET_ACCESS_KEY": SECRET}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together"),
            ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}, None),
            ({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}, None),
        ],
    )
    def test_a_bucket_needs_both_keys_or_a_role(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], says: str | None
    ) -> None:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        load_settings()  # a folder needs neither
        monkeypatch.setenv("OURVIDZ_STORE_URL", "s3://results/pod")
        if says is None:
            assert load_settings().store == S3Bucket("results", "pod")
            return
        (problem,) = problems()
        assert problem.startswith(says)

    def test_a_store_of_ones_own_has_an_address_and_a_region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000/")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "auto")
        settings = load_settings()
        assert (settings.aws_endpoint_url, settings.aws_region) == ("http://minio:9000", "auto")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
        (problem,) = problems()
        assert problem.startswith(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))

    def test_passwords_and_keys_are_struck_out_in_each_spelling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = {"AWS_ACCESS_KEY_ID": "AKIA-1b", "AWS_SECRET_ACCESS_KEY": "aws-2c", "AWS_SESSION_TOKEN": "token-3d"}
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert set(settings.secrets) == {"p%40ss-4f1c", "p@ss-4f1c", SECRET, *keys.values()}
        shown = f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"
        assert not any(secret in shown for secret in settings.secrets)


class TestLanguageWorker:
    def test_a_pod_of_its_own_needs_no_backend(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURVIDZ_WORKERS", " qwen ,")
        assert pod_settings() is QwenSettings
        settings = read_settings(QwenSettings)
        assert (settings.workers, settings.qwen_token, settings.qwen_queue) == (("qwen",), None, 8)
        assert settings.qwen_address == "http://127.0.0.1:8791"

    @pytest.mark.parametrize("workers", ["", "sdxl", "wan,qwen"])
    def test_beside_workers_that_take_jobs_it_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, workers: str
    ) -> None:
        monkeypatch.setenv("OURVIDZ_WORKERS", workers)
        assert pod_settings() is Settings

    @pytest.mark.parametrize(
        ("host", "address"),
        [
            ("0.0.0.0", "http://127.0.0.1:9000"),
            ("::", "http://[::1]:9000"),
            ("fd00::7", "http://[fd00::7]:9000"),
            ("qwen.internal", "http://qwen.internal:9000"),
            (" [fd00::7] ", "http://[fd00::7]:9000"),
        ],
    )
    def test_its_neighbours_reach_it(self, monkeypatch: pytest.MonkeyPatch, host: str, address: str) -> None:
        monkeypatch.setenv("OURVIDZ_QWEN_HOST", host)
        monkeypatch.setenv("OURVIDZ_QWEN_PORT", "9000")
        assert read_settings(QwenSettings).qwen_address == address

    @pytest.mark.parametrize("blank", ["", "  ", "\n"])
    def test_a_blank_token_is_none(self, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
        monkeypatch.setenv("OURVIDZ_QWEN_TOKEN", blank)
        assert read_settings(QwenSettings).qwen_token is None

    @pytest.mark.usefixtures("complete")
    def test_whoever_asks_one_needs_its_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURVIDZ_ENHANCER_URL", "http://127.0.0.1:8791/")
        (problem,) = problems()
        assert problem.startswith("OURVIDZ_QWEN_TOKEN is not set: OURVIDZ_ENHANCER_URL names a qwen worker")
        monkeypatch.setenv("OURVIDZ_QWEN_TOKEN", f" {TOKEN}\n")
        settings = load_settings()
        assert (settings.enhancer_url, settings.secrets[-1]) == ("http://127.0.0.1:8791", TOKEN)
        assert not settings.own_language_model

    @pytest.mark.parametrize("name", ["OURVIDZ_ENHANCER_URL", "OURVIDZ_LANGUAGE_MODEL_URL", "OURVIDZ_STATUS_URL"])
    @pytest.mark.parametrize("value", [f"https://x:{TOKEN}@x.io", f"https://x.io?key={TOKEN}", f"ftp://{TOKEN}"])
    def test_an_address_with_a_secret_is_refused_without_repeating_it(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv("OURVIDZ_QWEN_TOKEN", "some token")
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError) as caught:
            read_settings(QwenSettings)
        assert caught.value.problems[0].startswith(f"{name} is wrong: must be")
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize("name", ["OURVIDZ_QWEN_TOKEN", "OURVIDZ_LANGUAGE_MODEL_KEY"])
    def test_its_secrets_stay_out_of_every_text(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, TOKEN)
        settings = read_settings(QwenSettings)
        assert settings.secrets == (TOKEN,)
        assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
        monkeypatch.setenv(name, f"{TOKEN}\nsecond line")
        with pytest.raises(ConfigurationError) as caught:
            read_settings(QwenSettings)
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize("port", ["0", "65536", "high"])
    def test_a_port_that_is_none_is_refused(self, monkeypatch: pytest.MonkeyPatch, port: str) -> None:
        monkeypatch.setenv("OURVIDZ_QWEN_PORT", port)
        with pytest.raises(ConfigurationError, match="OURVIDZ_QWEN_PORT is wrong"):
            read_settings(QwenSettings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ("http://127.0.0.1:9400",)),
        ("http://a:1/", ("http://a:1",)),
        (" http://a:1 , https://b/pod/,", ("http://a:1", "https://b/pod")),
        (",", ()),
    ],
)
def test_pods_are_a_list(monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]) -> None:
    monkeypatch.setenv("OURVIDZ_STATUS_URL", value)
    assert read_settings(QwenSettings).status_urls == expected


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "http://127.0.0.1:9"), ("fd00::7", "http://[fd00::7]:9")])
def test_probes_are_reached_where_they_listen(monkeypatch: pytest.MonkeyPatch, host: str, address: str) -> None:
    monkeypatch.setenv("OURVIDZ_PROBE_HOST", host)
    assert read_settings(QwenSettings).probe_address(9) == address


@pytest.mark.usefixtures("complete")
def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.pop_end = "left"  # type: ignore[misc]


@pytest.mark.usefixtures("complete")
def test_without_a_home_folder_state_lies_in_the_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers run under a user that has no home."""

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert state_folder("spool").parts[-2:] == ("ourvidz_worker", "spool")


@pytest.mark.usefixtures("complete")
def test_paths_are_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SPOOL", "CACHE", "MODELS_DIR", "CONFIG_DIR", "STATUS_FILE"):
        monkeypatch.setenv(f"OURVIDZ_{name}", str(tmp_path / name))
    settings: Settings = load_settings()
    assert settings.spool_dir == tmp_path / "SPOOL"
    assert settings.cache_dir == tmp_path / "CACHE"
    assert settings.models_dir == tmp_path / "MODELS_DIR"
    assert settings.config_dir == tmp_path / "CONFIG_DIR"
    assert settings.status_file == tmp_path / "STATUS_FILE"


def test_a_line_end_from_a_secret_file_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, f" {value}\n")
    settings = load_settings()
    assert settings.redis_rest_token.get_secret_value() == TOKEN
