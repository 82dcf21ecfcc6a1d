"""``python -m tests.screen.play [STATE]``: the screen over a scripted cluster, to look at by hand.

``--svg PATH --size 120x36`` draws it without a terminal.
"""

import argparse
import asyncio
from pathlib import Path

from console.screen.app import ConsoleApp
from tests.screen import fake
from tests.screen.driver import FixedClock, drained, wait_until

STATES = ("empty", "provisioning", "loading", "serving", "serving_busy", "unreachable", "rank_killed")


async def draw(app: ConsoleApp, keys: list[str], size: tuple[int, int], path: Path) -> None:
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_until(pilot, lambda: drained(app))
        for key in keys:
            await pilot.press(key)
        await pilot.pause(0.6)
        picture = app.export_screenshot(title="mlxring")
    path.write_text(picture)  # noqa: ASYNC240 - nothing else runs any more


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", nargs="?", default="serving_busy", choices=(*STATES, "stopped", "hostile"))
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--size", default="120x36")
    parser.add_argument("--keys", default="", help="keys to press, separated by commas")
    options = parser.parse_args()
    records = getattr(fake, options.state)()
    app = ConsoleApp(lambda emit: fake.FakeCluster(emit, records), clock=FixedClock())
    if options.svg is None:
        app.run()
        return
    width, height = map(int, options.size.split("x"))
    keys = [key for key in options.keys.split(",") if key]
    asyncio.run(draw(app, keys, (width, height), options.svg))


if __name__ == "__main__":
    main()
