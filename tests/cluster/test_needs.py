"""What a host still needs, decided from facts: nothing twice, and a refusal names its remedy."""

import msgspec
import pytest

from console.cluster.actions import (
    OWN_PYTHON,
    InstallPython,
    MakeHome,
    MakeVenv,
    Places,
    Remove,
    SendCode,
    SendWheels,
    told,
)
from console.cluster.look import Found
from console.cluster.needs import needs
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts, PythonFound
from ringcore.spec.units import GIB
from tests.cluster.reach import options

HOME = "/home/op/.mlxring"
VENV = f"{HOME}/venv-1"
NEW = PythonFound("/usr/bin/python3", (3, 12, 1))
OLD = PythonFound("/usr/bin/python3.9", (3, 9, 6))
READY = PythonFound("/opt/ready/bin/python", (3, 11, 7), True, True)
FACTS = HostFacts(
    host="h1",
    os="linux",
    arch="x86_64",
    user="op",
    home="/home/op",
    shell="/bin/sh",
    cores=8,
    total_memory_bytes=16 * GIB,
    available_memory_bytes=12 * GIB,
    disk_free_bytes=100 * GIB,
    pythons=(NEW,),
)
LOCK = b"a-b==1.0 \\\n    --hash=sha256:0\nc==2 ; sys_platform == 'linux'\nd==3 ; sys_platform == 'darwin'\n"
NOTHING = Found(home="absent", has_venv=False, has_code=False)
PLACES = Places(home=HOME, venv=VENV, code=f"{HOME}/code-1", wheels=f"{HOME}/wheels-1")
ALL = Found(home="ours", has_venv=True, has_code=True)


def facts(*pythons: PythonFound, **changes: object) -> HostFacts:
    return msgspec.structs.replace(FACTS, pythons=pythons, **changes)


def refusal(
    of: HostFacts,
    found: Found = NOTHING,
    python: str = "",
    lacking: tuple[str, ...] = (),
    offline: bool = False,
) -> str:
    with pytest.raises(ProvisionError) as caught:
        needs(of, options(python=python), PLACES, found, lacking, LOCK if offline else b"")
    assert caught.value.failure.host == "h1" and caught.value.failure.remedy
    return str(caught.value)


def test_a_bare_host_needs_everything_in_order() -> None:
    wanted = needs(FACTS, options(), PLACES, NOTHING)
    assert wanted.python == f"{VENV}/bin/python"
    assert wanted.actions == (MakeHome(), SendCode(), MakeVenv(NEW, ""))


def test_a_host_that_has_all_needs_nothing() -> None:
    wanted = needs(FACTS, options(), PLACES, ALL)
    assert (wanted.python, wanted.actions) == (f"{VENV}/bin/python", ())


def test_changed_code_is_sent_and_the_environment_kept() -> None:
    found = Found(home="ours", has_venv=True, has_code=False)
    assert needs(FACTS, options(), PLACES, found).actions == (SendCode(),)


def test_an_empty_folder_is_made_ours() -> None:
    found = Found(home="empty", has_venv=False, has_code=False)
    assert MakeHome() in needs(FACTS, options(), PLACES, found).actions


def test_uv_makes_the_environment_where_it_is_found() -> None:
    wanted = needs(facts(PythonFound("/p", (3, 12, 0), False), uv="/bin/uv"), options(), PLACES, NOTHING)
    assert wanted.actions[-1] == MakeVenv(PythonFound("/p", (3, 12, 0), False), "/bin/uv")


def test_an_interpreter_that_has_every_package_is_used_as_it_is() -> None:
    wanted = needs(facts(NEW, READY), options(), PLACES, NOTHING)
    assert (wanted.python, wanted.actions) == (READY.path, (MakeHome(), SendCode()))


def test_our_own_environment_goes_before_one_that_was_found() -> None:
    assert needs(facts(READY), options(), PLACES, ALL).python == f"{VENV}/bin/python"


def test_an_interpreter_too_new_for_the_locked_wheels_is_the_last_choice() -> None:
    future = PythonFound("/usr/bin/python3.15", (3, 15, 0))
    wanted = needs(facts(future, NEW), options(), PLACES, NOTHING)
    assert wanted.actions[-1] == MakeVenv(NEW, "")


def test_the_profiles_interpreter_is_used_as_it_is() -> None:
    wanted = needs(facts(READY), options(python=READY.path), PLACES, NOTHING)
    assert (wanted.python, wanted.actions) == (READY.path, (MakeHome(), SendCode()))
    home = PythonFound("/home/op/py", (3, 11, 0), True, True)
    assert needs(facts(home), options(python="~/py"), PLACES, ALL).python == "/home/op/py"


def test_a_profiles_interpreter_that_is_not_there_is_refused_by_its_path() -> None:
    text = refusal(facts(NEW), python="/no/such/python")
    assert "/no/such/python" in text and "found /usr/bin/python3 (3.12.1)" in text


def test_a_profiles_interpreter_that_is_too_old_is_refused_with_its_version() -> None:
    text = refusal(facts(OLD), python=OLD.path)
    assert "Python 3.9.6" in text and "3.11" in text


def test_a_profiles_interpreter_without_packages_is_refused_with_their_names() -> None:
    lacking = tuple(f"p{n}==1" for n in range(6))
    text = refusal(facts(NEW), python=NEW.path, lacking=lacking)
    assert "lacks p0==1, p1==1, p2==1, p3==1 and 2 more" in text
    assert f"{NEW.path} -m pip install p0==1" in text


def test_a_host_without_a_python_says_what_to_install() -> None:
    assert "apt install python3" in refusal(facts())
    assert "brew install" in refusal(facts(os="darwin"))


def test_a_host_with_old_pythons_only_names_them() -> None:
    assert "/usr/bin/python3.9 (3.9.6)" in refusal(facts(OLD))


def test_a_python_without_venv_names_the_package_that_brings_it() -> None:
    assert "python3.12-venv" in refusal(facts(PythonFound("/usr/bin/python3", (3, 12, 1), False), OLD))


def test_a_full_disk_is_refused_with_what_is_needed_and_what_is_there() -> None:
    text = refusal(facts(NEW, disk_free_bytes=GIB))
    assert "1.0 GiB free" in text and "1.5 GiB are needed" in text
    assert "MiB are needed" in refusal(facts(READY, disk_free_bytes=1000))


def test_a_full_disk_does_not_matter_when_nothing_is_to_be_done() -> None:
    assert needs(facts(NEW, disk_free_bytes=0), options(), PLACES, ALL).actions == ()


def test_a_folder_of_somebody_else_is_left_alone() -> None:
    found = Found(home="foreign", has_venv=False, has_code=False)
    text = refusal(FACTS, found)
    assert HOME in text and "marker" in text and "hosts.home" in text


def test_a_host_with_uv_and_no_python_gets_one_from_it() -> None:
    wanted = needs(facts(OLD, uv="/bin/uv"), options(), PLACES, NOTHING)
    assert wanted.python == f"{VENV}/bin/python"
    assert wanted.actions == (
        MakeHome(), InstallPython("/bin/uv"), SendCode(), MakeVenv(OWN_PYTHON, "/bin/uv")
    )  # fmt: skip
    text = refusal(facts(OLD, uv="/bin/uv"), offline=True)  # uv has no network either
    assert "/bin/uv python install" in text and "--offline" in text


def test_offline_only_those_packages_are_sent_that_are_not_there() -> None:
    wanted = needs(facts(NEW), options(), PLACES, NOTHING, offline_lock=LOCK)
    assert wanted.actions[-2:] == (SendWheels(("a-b==1.0", "c==2")), MakeVenv(NEW, "", True))
    some = Found(
        home="ours", has_venv=False, has_code=True, wheels=("A_b-1.0-py3-none-any.whl", "c-1-x-y-z.whl")
    )
    wanted = needs(facts(NEW), options(), PLACES, some, offline_lock=LOCK)
    assert wanted.actions == (SendWheels(("c==2",)), MakeVenv(NEW, "", True))
    assert needs(facts(NEW), options(), PLACES, ALL, offline_lock=LOCK).actions == ()


def test_what_no_ring_uses_is_removed_last_and_only_from_a_home_of_ours() -> None:
    found = msgspec.structs.replace(ALL, has_code=False, unused=("code-2",), wheels=("a-1-x-y-z.whl",))
    assert needs(FACTS, options(), PLACES, found).actions == (SendCode(), Remove(("code-2", "wheels-1")))
    empty = Found(home="empty", has_venv=False, has_code=False, unused=("code-2",))
    assert not any(isinstance(a, Remove) for a in needs(FACTS, options(), PLACES, empty).actions)


def test_every_action_says_what_it_does_and_how() -> None:
    every = (
        MakeHome(), InstallPython("/bin/uv"), SendCode(), SendWheels(("c==2",)), MakeVenv(NEW, "", True),
        MakeVenv(OWN_PYTHON, "/bin/uv"), Remove(("code-2",)),
    )  # fmt: skip
    words = [told(action, PLACES) for action in every]
    assert all(HOME in word.command for word in words)
    assert len({word.text for word in words}) == len(every)
    assert f"--no-index --find-links {HOME}/wheels-1" in words[4].command
