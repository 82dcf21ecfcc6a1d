"""Joins cluster, demo and screen; nothing else imports all three."""

from console.cluster.connect import SshConnector
from console.cluster.operator import Operator, Progress
from console.cluster.wheelhouse import Wheelhouse
from console.demo.cache import user_cache
from console.demo.hosts import EmbeddedHosts, hosts_root
from console.ports import Emit
from ringcore.spec.profile import Profile


def operator_for(profile: Profile, emit: Emit) -> Operator:
    """The cluster of a profile. Connects to nothing yet. To be called in the event loop that will use it."""
    wheelhouse = Wheelhouse(user_cache() / "mlxring" / "wheels")
    connector = SshConnector(EmbeddedHosts(hosts_root(profile.name)))
    return Operator(profile, connector, emit, _demo_model, wheelhouse)


def open_console(profile: Profile, *, start: bool = False, ends_with_console: bool = False) -> int:
    """Run the screen until the operator leaves. Its exit code."""
    from console.screen.app import ConsoleApp

    app = ConsoleApp(lambda emit: operator_for(profile, emit), start=start, quit_stops_ring=ends_with_console)
    app.run()
    return app.return_code or 0


async def _demo_model(progress: Progress) -> str:
    from console.demo.model import demo_model

    return str(await demo_model(user_cache(), progress))
