"""Draws docs/console.svg: the console over the running demo, in the middle of an answer. ``make picture``."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from console.compose import operator_for
from console.demo.profile import demo_profile
from console.screen.app import ConsoleApp
from console.screen.panes.prompt import PromptPane

SIZE = (120, 36)
QUESTION = "Why is the sky blue?"
SERVING_SECONDS, ANSWER_SECONDS = 120.0, 60.0
SVG = Path(__file__).with_name("console.svg")


async def main() -> int:
    profile = demo_profile(2)
    app = ConsoleApp(lambda emit: operator_for(profile, emit), start=True, quit_stops_ring=True)
    async with app.run_test(size=SIZE) as pilot:
        try:
            await until(pilot, lambda: app.picture.serving, SERVING_SECONDS)
            await pilot.press("5", *QUESTION.replace("?", ""), "question_mark", "enter")
            prompt = app.query_one(PromptPane)
            await until(pilot, lambda: prompt.answering, ANSWER_SECONDS)
            await until(pilot, lambda: len(prompt.query("MarkdownParagraph")) >= 2, ANSWER_SECONDS)
            SVG.write_text(app.export_screenshot(title="mlxring"))
        finally:
            await operator_for(profile, lambda _record: None).stop()
    sys.stdout.write(f"{SVG}\n")
    return 0


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the console did not get there within {seconds:.0f} s")
        await pilot.pause(0.1)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
