"""Joins cluster, demo and screen; nothing else imports all three."""

from console.audit import Audit
from console.cluster.answers import Answers
from console.cluster.connect import SshConnector
from console.cluster.measure import Speeds, speeds_file
from console.cluster.operator import Operator
from console.cluster.planner import Progress
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from console.demo.cache import user_cache
from console.demo.hosts import EmbeddedHosts, hosts_root
from console.ports import Asker, Emit, refuse
from ringcore.spec.profile import Profile


def operator_for(
    profile: Profile, emit: Emit, asker: Asker | None = None, *, accept_new_host_keys: bool = False
) -> Operator:
    """The cluster of a profile. Connects to nothing yet. To be called in the event loop that will use it.

    ``asker`` None: nobody can be asked, when a login needs an answer or a deployed version is another.
    """
    answers = Answers(asker, accept_new_host_keys=accept_new_host_keys)
    connector = SshConnector(EmbeddedHosts(hosts_root(profile.name)), answers, Audit(profile.name))
    wheelhouse = Wheelhouse(user_cache() / "mlxring" / "wheels")
    weights = Weights(profile, emit, user_cache())
    speeds = Speeds(speeds_file())
    operator = Operator(profile, connector, emit, _demo_model, wheelhouse, weights, speeds)
    operator.confirm = asker.agree if asker is not None else refuse
    return operator


def open_console(
    profile: Profile,
    *,
    start: bool = False,
    ends_with_console: bool = False,
    accept_new_host_keys: bool = False,
) -> int:
    """Run the screen until the operator leaves. Its exit code."""
    from console.logs.audited import audited
    from console.screen.app import ConsoleApp
    from console.screen.asking import ScreenAsker

    asker = ScreenAsker()

    def cluster(emit: Emit) -> Operator:
        return operator_for(profile, emit, asker, accept_new_host_keys=accept_new_host_keys)

    app = asker.app = ConsoleApp(
        cluster,
        start=start,
        quit_stops_ring=ends_with_console,
        audited=lambda host: audited(profile.name, host),
    )
    app.run()
    return app.return_code or 0


async def _demo_model(progress: Progress) -> str:
    from console.demo.model import demo_model

    return str(await demo_model(user_cache(), progress))
