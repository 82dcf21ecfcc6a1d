"""A login's questions in the console: dialogs over the panes, answered by keys, gone with what asked."""

import asyncio

from textual.app import App
from textual.widgets import Input, Static

from console.ports import HostKeyShown, SecretWanted
from console.screen.asking import ScreenAsker, TrustKey, TypeSecret

SHOWN = HostKeyShown(host="mini1", server="10.0.0.1", algorithm="ssh-ed25519", fingerprint="SHA256:abc")
WANTED = SecretWanted(host="mini1", kind="password", of="op@[bold]10.0.0.1")


def asker(app: App[None]) -> ScreenAsker:
    asking = ScreenAsker()
    asking.app = app
    return asking


def said(app: App[None]) -> str:
    return " ".join(str(one.content) for one in app.screen.query(Static))


async def test_yes_and_no_to_a_new_host_key() -> None:
    for key, trusted in (("y", True), ("n", False), ("escape", False), ("enter", False)):
        async with (app := App[None]()).run_test() as pilot:
            answer = asyncio.create_task(asker(app).trust(SHOWN))
            await pilot.pause()
            assert isinstance(app.screen, TrustKey)
            assert "SHA256:abc" in said(app) and "10.0.0.1" in said(app)
            await pilot.press(key)
            assert await answer is trusted


async def test_a_password_is_typed_unseen_and_given_to_who_asked() -> None:
    async with (app := App[None]()).run_test() as pilot:
        answer = asyncio.create_task(asker(app).secret(WANTED))
        await pilot.pause()
        assert app.screen.query_one(Input).password
        assert "op@[bold]10.0.0.1" in said(app)
        await pilot.press(*"s3cret", "enter")
        assert await answer == "s3cret"
        await pilot.pause()
        assert not isinstance(app.screen, TypeSecret)


async def test_escape_is_no_answer() -> None:
    async with (app := App[None]()).run_test() as pilot:
        answer = asyncio.create_task(asker(app).secret(WANTED))
        await pilot.pause()
        await pilot.press("s", "escape")
        assert await answer is None


async def test_the_dialog_goes_with_the_login_that_was_broken_off() -> None:
    async with (app := App[None]()).run_test() as pilot:
        answer = asyncio.create_task(asker(app).secret(WANTED))
        await pilot.pause()
        assert isinstance(app.screen, TypeSecret)
        answer.cancel()
        await pilot.pause()
        assert not isinstance(app.screen, TypeSecret)


async def test_without_a_screen_there_is_no_answer() -> None:
    assert await ScreenAsker().secret(WANTED) is None
    assert await ScreenAsker().trust(SHOWN) is False


async def test_yes_and_no_to_replacing_another_version() -> None:
    for key, agreed in (("y", True), ("enter", False)):
        async with (app := App[None]()).run_test() as pilot:
            answer = asyncio.create_task(asker(app).agree("mini1 has [bold]0.0.9 deployed. Replace it?"))
            await pilot.pause()
            assert "mini1 has [bold]0.0.9 deployed" in said(app)
            await pilot.press(key)
            assert await answer is agreed
    assert await ScreenAsker().agree("?") is False
