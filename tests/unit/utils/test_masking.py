"""Passwords, tokens and keys in long texts."""

from __future__ import annotations

import pytest

from track.utils.masking import mask_text


@pytest.mark.parametrize("piece", ["x", "-", "a.", "token ", "s3://a ", "x://a?b="])
def test_a_long_text_is_masked_in_a_moment(piece: str) -> None:
    """Whatever it repeats: the time grows as the text does, and what is in it is found at its end."""
    text = piece * (200_000 // len(piece))

    masked = mask_text(f"{text} api_key=abc")

    assert masked.endswith(" api_key=***")
    assert len(masked) > 100_000 or "://" in piece


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my_secret_name = abc, lr=1", "my_secret_name = ***, lr=1"),
        ('{"hf.token": "abc", "tokens": 5}', '{"hf.token": ***, "tokens": 5}'),
        ("tokenizer=abc tokens_secret: abc", "tokenizer=abc tokens_secret: ***"),
        ("see 9s3+https://ann:pw@host/a now", "see 9s3+https://***@host/a now"),
        ("git+ssh://git@host/a", "git+ssh://git@host/a"),
    ],
)
def test_names_say_what_is_secret(text: str, masked: str) -> None:
    """Wherever the word stands in a name."""
    assert mask_text(text) == masked
