"""An answer cut anywhere and continued is the undisturbed answer: tokens, text and counts."""

import pytest

from tests.integration.vllm.client import Answer, RemoteEngine, chat, completion

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]

EMOJI = "😀🦉🐢🌊😀🦉🐢🌊😀🦉🐢🌊"


def text_before(answer: Answer, cut: int) -> str:
    return "".join(output["text"] for output in answer.outputs[:cut])


@pytest.mark.parametrize("cut", [1, 2, 7, 23, 39])
def test_continued_greedy_answer_is_the_undisturbed_one(engine: RemoteEngine, cut: int) -> None:
    body = chat("Why do rivers meander?", max_tokens=40, ignore_eos=True)
    whole = engine.ask(body)

    rest = engine.ask(body, continued=whole.tokens[:cut])

    assert whole.tokens[:cut] + rest.tokens == whole.tokens
    assert text_before(whole, cut) + rest.text == whole.text
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [rest.usage[count] for count in counts] == [whole.usage[count] for count in counts]


def test_cuts_inside_a_character_lose_and_repeat_nothing(engine: RemoteEngine) -> None:
    body = completion(EMOJI, max_tokens=12, ignore_eos=True, logprobs=1, stream=True)
    whole = engine.ask(body)
    inside = [cut for cut in range(1, 12) if whole.outputs[cut - 1]["text"] == ""]
    assert inside, "the model wrote no character of several tokens"

    rests = {cut: engine.ask(body, continued=whole.tokens[:cut]) for cut in inside}

    assert {cut: text_before(whole, cut) + rest.text for cut, rest in rests.items()} == dict.fromkeys(
        inside, whole.text
    )
    assert {cut: rest.outputs[0]["logprobs"]["tokens"] for cut, rest in rests.items()} == {
        cut: whole.outputs[cut]["logprobs"]["tokens"] for cut in inside
    }
    assert {cut: rest.outputs[0]["logprobs"]["text_offset"] for cut, rest in rests.items()} == {
        cut: whole.outputs[cut]["logprobs"]["text_offset"] for cut in inside
    }


def test_a_stop_string_across_the_cut_is_found(engine: RemoteEngine) -> None:
    prompt = "One, two, three, four,"
    plain = engine.ask(completion(prompt, max_tokens=16))
    middle = text_before(plain, 8)
    stop = middle[-4:] + plain.outputs[8]["text"]
    body = completion(prompt, max_tokens=16, stop=[stop])
    whole = engine.ask(body)
    cut = 8

    rest = engine.ask(body, continued=whole.tokens[:cut])

    assert rest.last["finish_reason"] == whole.last["finish_reason"] == "stop"
    assert text_before(whole, cut) + rest.text == whole.text


def test_an_answer_that_was_complete_ends_without_another_token(engine: RemoteEngine) -> None:
    question = chat("What is the capital of France?", max_tokens=32)
    stopped = engine.ask(question)
    limited = engine.ask(question | {"max_tokens": 4})

    ends = [
        engine.ask(question, continued=stopped.tokens),
        engine.ask(question | {"max_tokens": 4}, continued=limited.tokens),
    ]

    assert [(end.text, end.tokens, end.last["finish_reason"]) for end in ends] == [("", [], "stop"), ("", [], "length")]
    assert [end.usage["completion_tokens"] for end in ends] == [len(stopped.tokens), 4]


def test_the_text_before_the_cut_is_said_again_where_it_is_wanted(engine: RemoteEngine) -> None:
    plain = completion(EMOJI, max_tokens=12, ignore_eos=True)
    stopped = plain | {"stop": [engine.ask(plain).text[5:8]]}
    wholes = {"plain": engine.ask(plain), "stopped": engine.ask(stopped)}
    bodies = {"plain": plain, "stopped": stopped}

    said = {
        (name, cut): engine.ask(bodies[name], continued=whole.tokens[:cut], repeats_text=True).text
        for name, whole in wholes.items()
        for cut in (1, len(whole.tokens) // 2, len(whole.tokens) - 1, len(whole.tokens))
    }

    assert said == {(name, cut): wholes[name].text for name, cut in said}


def test_a_token_that_stops_is_not_said_again(engine: RemoteEngine) -> None:
    plain = engine.ask(completion("One, two, three, four,", max_tokens=12))
    body = completion("One, two, three, four,", max_tokens=12, stop_token_ids=[plain.tokens[-1]])
    whole = engine.ask(body)

    again = engine.ask(body, continued=whole.tokens, repeats_text=True)

    assert (again.text, again.tokens, again.last["finish_reason"]) == (whole.text, [], "stop")


def test_sampling_without_a_seed_goes_on(engine: RemoteEngine) -> None:
    body = chat("Tell me something.", max_tokens=20, ignore_eos=True) | {"temperature": 0.9}

    rest = engine.ask(body, continued=[1, 2, 3])

    assert (rest.last["error"], len(rest.tokens), rest.usage["completion_tokens"]) == (None, 17, 20)


def test_min_tokens_count_the_tokens_before_the_cut(engine: RemoteEngine) -> None:
    body = chat("What is the capital of France?", max_tokens=40, min_tokens=20)
    whole = engine.ask(body)

    rest = engine.ask(body, continued=whole.tokens[:10])

    assert whole.tokens[:10] + rest.tokens == whole.tokens


def test_what_cannot_be_continued_says_so(engine: RemoteEngine) -> None:
    body = chat("Describe a person.", response_format={"type": "json_object"})

    error = engine.ask(body, continued=[1, 2]).error

    assert (error["code"], error["param"]) == ("unsupported", "body.response_format")
