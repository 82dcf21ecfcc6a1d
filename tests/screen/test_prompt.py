"""The conversation: asking, streaming, cancelling, failing, and what goes with the next question."""

import pytest
from textual.content import Content
from textual.events import Key, Paste
from textual.widgets import Markdown

from console.ports import ChatDelta, ChatMessage
from console.screen.panes.prompt import Figures, figures
from console.screen.panes.prompt_input import PromptInput
from console.screen.phrases import fitted
from ringcore.spec.errors import ApiError
from tests.screen import fake
from tests.screen.driver import MIDDLE, SMALL, Open, opened

WHOLE = "".join(fake.ANSWER)


async def answered(it: Open, text: str = "why") -> None:
    before = len(it.cluster.conversations)
    await it.ask(text)
    await it.until(lambda: len(it.cluster.conversations) > before and not it.prompt.answering)


async def first_piece(it: Open) -> None:
    """Ask; the first piece of the answer is there and the others wait."""
    it.cluster.gate.clear()
    await it.ask("why")
    await it.until(lambda: "every colour" in it.seen())


async def test_an_answer_is_drawn_as_markdown_with_its_figures() -> None:
    async with opened(fake.serving()) as it:
        await answered(it, "why is the sky blue")
        shown = it.seen()
        assert (
            "why is the sky blue" in shown and "every colour" in shown and "**" not in shown.split("ratio")[0]
        )
        assert "14.2 tok/s   first token 0.8 s   118 tokens" in shown
        assert it.cluster.conversations == [[ChatMessage("user", "why is the sky blue")]]


async def test_keys_that_come_in_one_burst_are_typed_before_enter_sends_them() -> None:
    async with opened(fake.serving()) as it:
        it.prompt.target.focus()
        await it.pilot.pause()
        for character in " why is the sky blue":
            it.app.post_message(Key(character, character))
        it.app.post_message(Key("enter", "\r"))
        for character in "and":
            it.app.post_message(Key(character, character))
        await it.until(lambda: len(it.cluster.conversations) == 1 and not it.prompt.answering)
        assert it.cluster.conversations == [[ChatMessage("user", "why is the sky blue")]]
        await it.until(lambda: it.prompt.query_one(PromptInput).text == "and")


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        (1024, "118 tokens   1,024 of 1,180 tokens from cache"),
        (0, "118 tokens   none of 1,180 tokens from cache"),
        (None, "118 tokens"),
    ],
)
def test_the_figures_tell_how_much_of_the_prompt_came_from_the_cache(cached: int | None, words: str) -> None:
    last = ChatDelta(finish_reason="stop", prompt_tokens=1180, completion_tokens=118, cached_tokens=cached)
    assert fitted(figures(last), 0).endswith(words)
    assert fitted(figures(last), 54).splitlines()[-1].endswith(words.rpartition("   ")[2])


async def test_figures_are_broken_between_phrases_and_again_when_the_width_changes() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.cached_tokens = 20
        await answered(it)
        below = it.prompt.query_one(Figures)
        for size, last in (
            (MIDDLE, "20 of 31 tokens from cache"),
            (SMALL, None),
            (MIDDLE, "20 of 31"),
        ):
            await it.pilot.resize_terminal(*size)
            await it.settle()
            assert isinstance(below.content, Content)
            lines = below.content.plain.split("\n")
            assert len(lines) == (2 if last else 1) and lines[-1].startswith(last or "14.2 tok/s   first")


async def test_the_conversation_goes_with_the_next_question() -> None:
    async with opened(fake.serving()) as it:
        await answered(it, "one")
        await answered(it, "two")
        assert it.cluster.conversations[1] == [
            ChatMessage("user", "one"),
            ChatMessage("assistant", WHOLE),
            ChatMessage("user", "two"),
        ]


async def test_pieces_are_shown_as_they_come() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        assert it.prompt.answering and "fourth power" not in it.seen()
        assert "answering; esc breaks it off" in it.seen() and "esc cancel" in it.seen()
        it.cluster.gate.set()
        await it.until(lambda: not it.prompt.answering)
        assert "esc keys" in it.seen() and "answering;" not in it.seen()


async def test_cancel_closes_the_stream_at_once_and_says_that_it_is_not_the_whole_answer() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        await it.press("escape")
        await it.until(lambda: it.cluster.closed_chats == 1)
        assert it.cluster.finished_chats == 0 and not it.prompt.answering
        assert "cancelled: the ring no longer works on it" in it.seen() and "every colour" in it.seen()
        assert it.prompt.target.has_focus


async def test_after_a_cancel_the_next_question_carries_what_was_read() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        await it.press("escape")
        await it.until(lambda: not it.prompt.answering)
        it.cluster.gate.set()
        await answered(it, "go on")
        assert [message.content for message in it.cluster.conversations[1]] == [
            "why",
            fake.ANSWER[0],
            "go on",
        ]


async def test_leaving_during_an_answer_closes_the_stream() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        await it.press("tab", "q")
        await it.until(lambda: not it.app.is_running)
    assert it.cluster.closed_chats == 1 and it.cluster.closed


async def test_a_failed_answer_says_why_and_what_to_do_and_stays() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.failures["chat"] = ApiError("the API answered 503", "wait until the ring serves again")
        await answered(it)
        it.cluster.play(fake.serving_busy())
        await it.settle()
        assert "✗ the API answered 503" in it.seen()
        assert "remedy: wait until the ring serves again" in it.seen()
        del it.cluster.failures["chat"]
        await answered(it, "again")
        assert it.cluster.conversations[-1] == [ChatMessage("user", "again")]


async def test_an_answer_that_ends_without_a_reason_is_not_taken_for_whole() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.breaks_off = True
        await answered(it)
        assert "the answer broke off without a reason" in it.seen()


async def test_a_defect_while_answering_is_shown_and_logged_and_the_screen_stays() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.defect = ZeroDivisionError("of ours")
        await answered(it)
        await it.until(lambda: "✗ answer: ZeroDivisionError: of ours" in it.seen())
        await it.settle()
        assert it.app.is_running and "this is a defect of mlxring; the ring goes on" in it.seen()
        lines = [it.logs.store[number].text for number in it.logs.lines.visible_numbers()]
        assert lines[-2] == "console failed: answer: ZeroDivisionError: of ours"
        assert "broke off without a reason" in it.seen()


async def test_a_second_question_waits_for_the_first_answer() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        await it.ask("two")
        assert "an answer is on its way" in it.said and len(it.cluster.conversations) == 1
        assert it.prompt._input.text == "two"


async def test_a_question_that_cannot_be_asked_says_why_and_is_not_lost() -> None:
    async with opened(fake.loading()) as it:
        await it.ask("why")
        assert "Not sent: the ring is loading: wait until it serves" in it.said
        assert it.cluster.conversations == [] and it.prompt._input.text == "why"


async def test_an_empty_line_asks_nothing() -> None:
    async with opened(fake.serving()) as it:
        await it.ask("  ")
        assert it.cluster.conversations == []


async def test_questions_come_back_on_up_and_the_draft_on_down() -> None:
    async with opened(fake.serving()) as it:
        await answered(it, "one")
        await answered(it, "two")
        await it.press(*"dra", "up", "up", "up")
        assert it.prompt._input.text == "one"
        await it.press("down", "down", "down")
        assert it.prompt._input.text == "dra"


async def test_letters_in_the_prompt_are_text_and_no_keys() -> None:
    async with opened(fake.serving()) as it:
        await it.press("q", "x", "s", "1", "slash", "question_mark")
        assert it.prompt._input.text == "qxs1/?" and len(it.app.screen_stack) == 1


async def test_a_new_conversation_forgets_the_old_one_even_while_it_is_answered() -> None:
    async with opened(fake.serving()) as it:
        await first_piece(it)
        await it.press("ctrl+l")
        await it.until(lambda: it.cluster.closed_chats == 1 and not it.prompt.query(".turn"))
        it.cluster.gate.set()
        await answered(it, "anew")
        assert it.cluster.conversations[-1] == [ChatMessage("user", "anew")]


async def test_the_last_answer_is_copied_as_it_was_written() -> None:
    async with opened(fake.serving()) as it:
        await it.press("ctrl+y")
        assert "No answer to copy yet" in it.said and it.app.clipboard == ""
        await answered(it)
        await it.press("ctrl+y")
        assert it.app.clipboard == WHOLE


async def test_a_reader_who_scrolled_up_is_not_pulled_down_by_new_text() -> None:
    async with opened(fake.serving(), size=SMALL) as it:
        await answered(it, "one")
        it.cluster.gate.clear()
        await it.ask("two")
        await it.until(lambda: len(it.prompt.query(Markdown)) == 2)
        await it.settle()
        talk = it.prompt._talk
        talk.focus()
        await it.press("home")
        await it.until(lambda: talk.scroll_y == 0)
        it.cluster.gate.set()
        await it.until(lambda: not it.prompt.answering)
        assert talk.scroll_y == 0 and talk.max_scroll_y > 0


async def test_why_nothing_can_be_asked_is_shown_over_an_old_conversation_too() -> None:
    async with opened(fake.serving()) as it:
        await answered(it)
        it.cluster.play(fake.rank_killed())
        await it.until(lambda: "the ring does not serve" in it.seen())
        await it.settle()
        assert "see what failed under Hosts" in it.seen() and "Nothing can be asked now" in it.seen()


async def paste(it: Open, text: str) -> None:
    it.prompt.target.focus()
    await it.pilot.pause()
    it.app.post_message(Paste(text))
    await it.pilot.pause()


async def test_a_paste_of_several_lines_is_one_question_with_all_of_them() -> None:
    code = "def f():\r\n    return 1\n\nwhat is wrong?"
    async with opened(fake.serving()) as it:
        await paste(it, code)
        assert it.cluster.conversations == [], "nothing is sent before enter"
        assert "return 1" in it.seen() and "what is wrong?" in it.seen()
        await it.pilot.press("enter")
        await it.until(lambda: bool(it.cluster.conversations))
        assert it.cluster.conversations == [[ChatMessage("user", code.replace("\r\n", "\n"))]]
        assert it.prompt._input.text == ""


async def test_a_paste_moves_no_cursor_and_presses_no_key() -> None:
    async with opened(fake.serving()) as it:
        await paste(it, "a\x1b[2Jb\x07")
        assert it.prompt._input.text == "a␛[2Jb␇"
        await it.press("escape", "1")
        it.app.post_message(Paste("qxs"))
        await it.settle()
        assert it.pane == "hosts" and it.cluster.asked == ["follow"] and len(it.app.screen_stack) == 1


async def test_a_long_paste_leaves_room_for_the_conversation() -> None:
    async with opened(fake.serving(), size=SMALL) as it:
        await answered(it)
        await paste(it, "\n".join(f"line {n}" for n in range(50)))
        assert it.prompt._input.size.height == 6 and "line 49" in it.seen()
        assert it.prompt._talk.size.height > 6


async def test_a_question_of_two_lines_is_typed_and_read_line_by_line() -> None:
    async with opened(fake.serving()) as it:
        await it.ask("one")
        await it.until(lambda: not it.prompt.answering)
        await it.press("a", "ctrl+j", "b")
        assert it.prompt._input.text == "a\nb"
        await it.press("up")
        assert it.prompt._input.text == "a\nb", "up moves to the line above first"
        await it.press("up")
        assert it.prompt._input.text == "one"
        await it.press("down")
        assert it.prompt._input.text == "a\nb"
