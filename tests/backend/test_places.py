"""Where results may go: what OURVIDZ_STORE_URL can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ourvidz_worker.backend.objects.places import Folder, Place, S3Bucket, parse_place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://results", S3Bucket("results")),
        ("s3://results/", S3Bucket("results")),
        ("s3://my.results-1/pods/one/", S3Bucket("my.results-1", "pods/one")),
        ("s3://results?addressing=virtual", S3Bucket("results", virtual_host=True)),
        ("s3://results/pod?addressing=path", S3Bucket("results", "pod")),
        ("file:///workspace/results", Folder(Path("/workspace/results"))),
        ("file://localhost/a%20folder", Folder(Path("/a folder"))),
    ],
)
def test_a_place_is_a_bucket_with_a_prefix_or_a_folder(url: str, place: Place) -> None:
    assert parse_place(url) == place


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://results.s3.amazonaws.com", "s3:// or file://"),
        ("/workspace/results", "s3:// or file://"),
        ("s3://", "must name a bucket"),
        ("s3://Results", "must name a bucket"),
        ("s3://AKIA:secret@results", "must hold no keys"),
        ("s3://results/../other", "must have a prefix"),
        ("s3://results/a//b", "must have a prefix"),
        ("s3://results?region=eu-central-1", "?addressing=virtual"),
        ("s3://results?addressing=cloud", "?addressing=virtual"),
        ("s3://results#a", "no #"),
        ("s3://[results", "is no URL"),
        ("file://workspace/results", "whole path"),
        ("file://~/results", "whole path"),
        ("file:results", "whole path"),
        ("file:///workspace/../etc", "whole path"),
        ("file:///workspace?x=1", "whole path"),
    ],
)
def test_what_is_no_place_is_told_without_repeating_it(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("?", r"\?")) as raised:
        parse_place(url)
    assert "secret" not in str(raised.value)
