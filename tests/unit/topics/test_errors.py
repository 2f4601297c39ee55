"""The tree of errors."""

from collections.abc import Iterator

import pytest

from topics import errors
from topics.errors import PipelineError
from topics.responses import ErrorBody


def _tree(root: type[PipelineError] = PipelineError) -> Iterator[type[PipelineError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from _tree(kind)


KINDS = list(_tree())
NAMED = [kind for kind in KINDS if "code" in vars(kind)]


def test_no_two_classes_define_the_same_code() -> None:
    codes = [kind.code for kind in NAMED]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", NAMED)
def test_a_code_is_one_word_in_lower_case(kind: type[PipelineError]) -> None:
    assert kind.code.replace("_", "").isalpha() and kind.code == kind.code.lower()


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_is_one_of_an_error(kind: type[PipelineError]) -> None:
    assert 400 <= kind.http_status < 600


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, errors.RequestError)])
def test_the_senders_mistakes_are_not_retryable(kind: type[PipelineError]) -> None:
    assert not kind.retryable and 400 <= kind.http_status < 500


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, errors.RejectedError)])
def test_what_was_turned_away_may_be_sent_again(kind: type[PipelineError]) -> None:
    assert kind.retryable and kind.http_status in (429, 503)


def test_the_docstring_draws_the_whole_tree() -> None:
    drawn = (errors.__doc__ or "").split()
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in drawn] == []


def test_the_wire_form_says_what_the_error_says() -> None:
    body = ErrorBody.of(errors.QueueFull("full", param="model", retry_after_s=2.5))
    assert body == ErrorBody(
        message="full", type="QueueFull", param="model", code="queue_full", retryable=True, retry_after_s=2.5
    )
