"""What a login asks the operator: whether a new key is the host's, passphrases, passwords. Nothing twice."""

import asyncio
import stat
import time
from pathlib import Path

import asyncssh
import pytest

from console.cluster.answers import Answers
from console.cluster.connect import SshConnector
from console.cluster.known_hosts import _hashed
from console.cluster.ssh import SshHost, connect
from console.cluster.target import Patience, Target
from console.ports import HostKeyShown, SecretWanted
from ringcore.spec.errors import HostError
from tests.cluster.asked import Told, account, write_key
from tests.cluster.reach import options


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's empty ~/.ssh; no agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return tmp_path / ".ssh"


def known(ssh: Path, port: int, key: asyncssh.SSHKey) -> None:
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")


def is_device(path: str) -> bool:
    return stat.S_ISCHR(Path(path).stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def reach(port: int, answers: Answers, name: str = "h1") -> SshHost:
    return await connect(options(name=name), Target(host="127.0.0.1", port=port, user="op"), answers=answers)


async def logged_in(port: int, answers: Answers) -> None:
    await (await reach(port, answers)).close()


# first contact ---------------------------------------------------------------------------------------
async def test_a_new_hosts_key_is_shown_and_kept_when_the_operator_says_yes(ssh: Path) -> None:
    key = write_key(ssh / "id_ed25519")
    told = Told()
    async with account(key) as (port, host_key):
        await logged_in(port, Answers(told))
        assert told.asked == [
            HostKeyShown(
                host="h1",
                server=f"[127.0.0.1]:{port}",
                algorithm="ssh-ed25519",
                fingerprint=host_key.get_fingerprint(),
            )
        ]
        file = ssh / "known_hosts"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() == f"[127.0.0.1]:{port} {host_key.export_public_key().decode().strip()}\n"
        await logged_in(port, Answers())  # nobody to ask, and no need to
    assert names_in(ssh) == ["id_ed25519", "known_hosts"]


async def test_a_new_hosts_key_that_the_operator_does_not_know_is_not_kept_and_asked_once(ssh: Path) -> None:
    told = Told(trust=False)
    answers = Answers(told)
    async with account(write_key(ssh / "id_ed25519")) as (port, _):
        for _ in range(2):
            with pytest.raises(HostError, match="is unknown"):
                await reach(port, answers)
    assert told.kinds == ["trust"]
    assert not (ssh / "known_hosts").exists()


async def test_without_a_terminal_a_new_host_is_refused_with_the_command_to_run(ssh: Path) -> None:
    async with account(write_key(ssh / "id_ed25519")) as (port, host_key):
        with pytest.raises(HostError) as caught:
            await reach(port, Answers())
    failure = caught.value.failure
    assert host_key.get_fingerprint() in failure.cause
    assert "mlxring check PROFILE" in failure.remedy and "--accept-new-host-keys" in failure.remedy
    assert not (ssh / "known_hosts").exists()


async def test_a_script_may_accept_new_hosts_and_never_a_changed_one(ssh: Path) -> None:
    key = write_key(ssh / "id_ed25519")
    answers = Answers(accept_new_host_keys=True)
    async with account(key) as (port, _):
        await logged_in(port, answers)
        before = (ssh / "known_hosts").read_text()
        old = asyncssh.generate_private_key("ssh-ed25519")
        known(ssh, port, old)
        told = Told()
        with pytest.raises(HostError, match="has changed"):
            await reach(port, Answers(told, accept_new_host_keys=True))
        assert told.asked == [] and old.get_fingerprint() not in before


async def test_the_other_lines_of_known_hosts_stay_as_they_are(ssh: Path) -> None:
    file = ssh / "known_hosts"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    before = f"# mine\n{_hashed('other.example')} {other}"  # no newline at the end
    file.write_text(before)
    file.chmod(0o644)
    async with account(write_key(ssh / "id_ed25519")) as (port, _):
        await logged_in(port, Answers(Told()))
        text = file.read_text()
        assert text.startswith(before + "\n") and "127.0.0.1" not in text  # hashed, as the others are
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        await logged_in(port, Answers())


async def test_a_known_hosts_file_that_is_none_is_left_alone_and_said(ssh: Path) -> None:
    (ssh / "config").write_text("UserKnownHostsFile /dev/null\n")
    async with account(write_key(ssh / "id_ed25519")) as (port, _):
        with pytest.raises(HostError, match="/dev/null cannot be written"):
            await reach(port, Answers(accept_new_host_keys=True))
    assert is_device("/dev/null")


async def test_hosts_behind_one_new_server_ask_about_it_once(ssh: Path) -> None:
    told = Told()
    answers = Answers(told)
    async with account(write_key(ssh / "id_ed25519")) as (port, _):
        hosts = await asyncio.gather(*(reach(port, answers, f"h{n}") for n in range(4)))
        for host in hosts:
            await host.close()
    assert told.kinds == ["trust"]


async def test_a_host_that_another_login_has_vouched_for_meanwhile_is_known(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from console.cluster import ssh_login

    async with account(write_key(ssh / "id_ed25519")) as (port, host_key):
        look_up = ssh_login.look_up

        def later(*arguments):  # type: ignore[no-untyped-def]
            known(ssh, port, host_key)
            return look_up(*arguments)

        monkeypatch.setattr(ssh_login, "look_up", later)
        await logged_in(port, Answers())


# keys with a passphrase ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "form"), [("ed25519", "openssh"), ("rsa", "openssh"), ("rsa", "pkcs1-pem"), ("rsa", "pkcs8-pem")]
)
async def test_a_keys_passphrase_is_asked_for_and_once_for_all_hosts(ssh: Path, kind: str, form: str) -> None:
    file = ssh / f"id_{kind}"
    key = write_key(file, "a phrase; $(x)", kind, form)
    told = Told(passphrase=["wrong", "a phrase; $(x)"])
    answers = Answers(told)
    async with account(key) as (port, host_key):
        known(ssh, port, host_key)
        hosts = await asyncio.gather(*(reach(port, answers, f"h{n}") for n in range(3)))
        for host in hosts:
            await host.close()
        assert [(one.kind, one.of, one.again) for one in told.asked if isinstance(one, SecretWanted)] == [
            ("passphrase", str(file), False),
            ("passphrase", str(file), True),
        ]
        assert "phrase" not in repr(answers)
        answers.forget()
        with pytest.raises(HostError, match="was not unlocked"):
            await reach(port, answers)


async def test_what_was_declined_is_asked_once_for_all_hosts_and_again_on_the_next_try(ssh: Path) -> None:
    key = write_key(ssh / "id_ed25519", "phrase")
    told = Told()
    connector = SshConnector(answers=Answers(told))
    async with account(key) as (port, host_key):
        known(ssh, port, host_key)
        hosts = [options(name=f"h{n}", ssh=f"op@127.0.0.1:{port}") for n in range(3)]
        for tries in (1, 2):
            logins = (connector.connect(host) for host in hosts)
            ended = await asyncio.gather(*logins, return_exceptions=True)
            assert [type(each) for each in ended] == [HostError] * 3
            assert told.kinds == ["passphrase"] * tries
    await connector.close()


async def test_a_key_that_the_server_does_not_take_is_never_asked_for(ssh: Path) -> None:
    write_key(ssh / "id_ed25519", "phrase")
    right = write_key(ssh / "id_rsa", kind="rsa")
    told = Told()
    async with account(right) as (port, host_key):
        known(ssh, port, host_key)
        await logged_in(port, Answers(told))
    assert told.asked == []


async def test_a_locked_key_is_named_when_there_is_nobody_to_ask(ssh: Path) -> None:
    key = write_key(ssh / "id_ed25519", "phrase")
    async with account(key) as (port, host_key):
        known(ssh, port, host_key)
        with pytest.raises(HostError) as caught:
            await reach(port, Answers())
    assert f"{ssh / 'id_ed25519'} would be taken and was not unlocked" in caught.value.failure.cause
    assert f"ssh-add {ssh / 'id_ed25519'}" in caught.value.failure.remedy


async def test_the_file_that_the_configuration_names_is_the_one_asked_for(ssh: Path) -> None:
    key = write_key(ssh / "ring key", "phrase")
    (ssh / "config").write_text('Host 127.0.0.1\n  IdentityFile "~/.ssh/ring key"\n  IdentitiesOnly yes\n')
    told = Told(passphrase=["phrase"])
    async with account(key) as (port, host_key):
        known(ssh, port, host_key)
        await logged_in(port, Answers(told))
    assert [one.of for one in told.asked if isinstance(one, SecretWanted)] == [str(ssh / "ring key")]


# passwords -------------------------------------------------------------------------------------------
async def test_a_password_is_the_last_resort_and_kept_for_the_session(ssh: Path) -> None:
    write_key(ssh / "id_ed25519")  # not authorized
    told = Told(password=["wrong", "pass word"])
    answers = Answers(told)
    async with account(password="pass word") as (port, host_key):
        known(ssh, port, host_key)
        await logged_in(port, answers)
        await logged_in(port, answers)
        assert [(one.kind, one.of, one.again) for one in told.asked if isinstance(one, SecretWanted)] == [
            ("password", f"op@[127.0.0.1]:{port}", False),
            ("password", f"op@[127.0.0.1]:{port}", True),
        ]


async def test_no_password_is_asked_for_when_a_key_is_taken(ssh: Path) -> None:
    told = Told(password=["x"])
    async with account(write_key(ssh / "id_ed25519"), password="x") as (port, host_key):
        known(ssh, port, host_key)
        await logged_in(port, Answers(told))
    assert told.asked == []


async def test_three_wrong_passwords_end_it(ssh: Path) -> None:
    told = Told(password=["1", "2", "3", "4"])
    answers = Answers(told)
    async with account(password="right") as (port, host_key):
        known(ssh, port, host_key)
        with pytest.raises(HostError, match="user op was refused"):
            await reach(port, answers)
    assert told.kinds == ["password"] * 3
    assert answers.passwords == {}


async def test_a_server_that_asks_questions_gets_their_answers(ssh: Path) -> None:
    told = Told(answer=["wrong", "1", "secret", "42"])
    questions = {"Password: ": "secret", "Token \x1b[31m[red]: ": "42"}
    async with account(questions=questions) as (port, host_key):
        known(ssh, port, host_key)
        await logged_in(port, Answers(told))
    asked = [one for one in told.asked if isinstance(one, SecretWanted)]
    assert [one.prompt for one in asked] == [*questions, *questions]
    assert [one.again for one in asked] == [False, False, True, True]


async def test_nobody_to_ask_is_said_where_a_password_would_do(ssh: Path) -> None:
    async with account(password="x") as (port, host_key):
        known(ssh, port, host_key)
        with pytest.raises(HostError, match="in a terminal"):
            await reach(port, Answers())


async def test_the_time_of_an_answer_does_not_count(ssh: Path) -> None:
    class Slow(Told):
        async def secret(self, wanted: SecretWanted) -> str | None:
            await asyncio.sleep(0.6)
            return await super().secret(wanted)

    async with account(password="x") as (port, host_key):
        known(ssh, port, host_key)
        target = Target(host="127.0.0.1", port=port, user="op")
        host = await connect(
            options(), target, answers=Answers(Slow(password=["x"])), patience=Patience(0.5, 0.5, 0.5)
        )
        await host.close()


async def test_a_question_may_be_broken_off(ssh: Path) -> None:
    class Gone(Told):
        async def secret(self, wanted: SecretWanted) -> str | None:
            await super().secret(wanted)
            await asyncio.Event().wait()
            return None

    gone = Gone()
    answers = Answers(gone)
    async with account(password="x") as (port, host_key):
        known(ssh, port, host_key)
        asking = asyncio.create_task(reach(port, answers))
        async with asyncio.timeout(5):
            while not gone.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert not answers._one_at_a_time.locked()


async def test_a_login_that_the_server_leaves_hanging_is_told_apart_from_a_dead_host(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tests.cluster.asked.Account.begin_auth", never, raising=False)
    async with account(write_key(ssh / "id_ed25519")) as (port, host_key):
        known(ssh, port, host_key)
        began = time.monotonic()
        with pytest.raises(HostError, match="did not finish an SSH login within 0 s"):
            await connect(
                options(), Target(host="127.0.0.1", port=port, user="op"), patience=Patience(3, 3, 0.3)
            )
        assert time.monotonic() - began < 3
