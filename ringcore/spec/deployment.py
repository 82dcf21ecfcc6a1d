"""What the console writes on each host before it starts an agent, and the names of the files there.

Layout of a host's ``home`` (``~/.mlxring`` unless the profile says otherwise)::

    mlxring-home                the marker: says that this folder is ours (purge looks for it)
    venv-<lock hash>/           interpreter and packages
    code-<hash>/ringcore/       ringcore as the console has it
    wheels-<lock hash>/         packages that were sent
    python/                     an interpreter of ours
    models/                     weights that were sent or fetched
    runs/<ring>/                deployment.json secret(0600) api.key(0600) agent.sock engine.sock agent.pid
                                events.jsonl rank-<n>.log agent.log gateway.log conversations/
"""

from msgspec import Struct

from ringcore.spec.plan import Plan

MARKER = "mlxring-home"
# what may lie there of ours, as patterns of the shell: whatever is added must be named here, for purge
OURS = ("venv-*", "code-*", "wheels-*", "python", "models", "prefix", "runs")
DEPLOYMENT_FILE = "deployment.json"
SECRET_FILE = "secret"
API_KEY_FILE = "api.key"  # on the leader, 0600; kept from one deployment to the next
AGENT_SOCKET = "agent.sock"
ENGINE_SOCKET = "engine.sock"
PID_FILE = "agent.pid"
JOURNAL_FILE = "events.jsonl"
CONVERSATIONS = "conversations"  # a folder, 0700: what `conversation_id` names, kept from one run to the next
AGENT_LOG = "agent.log"


class Member(Struct, frozen=True, kw_only=True):
    """A rank's place on the ring's network. ``address`` is IPv4 (MLX's ring knows no other)."""

    rank: int
    host: str
    address: str
    link_port: int


class Deployment(Struct, frozen=True, kw_only=True):
    """One host's copy; the copies differ in ``rank`` and ``model_path`` only.

    ``run_id`` is new for each `up`; ``operator`` (user@machine) made it at ``made_at``, in Unix seconds.
    ``control_port`` is where the leader's agent listens, on the leader's ``address``. ``model_path`` is a
    folder with ``config.json`` and safetensors.
    """

    ring: str
    run_id: str
    rank: int
    plan: Plan
    members: tuple[Member, ...]
    control_port: int
    backend: str
    model_name: str
    model_path: str
    api_bind: str
    api_port: int
    api_key: bool = False  # clients must send what is in `API_KEY_FILE`
    api_origins: tuple[str, ...] = ()
    api_tls_cert: str = ""  # ``~`` is the leader's home
    api_tls_key: str = ""
    allow_unverified: bool = False  # as the profile says
    operator: str = ""
    made_at: float = 0.0

    @property
    def me(self) -> Member:
        return self.members[self.rank]

    @property
    def leader(self) -> Member:
        return self.members[0]

    @property
    def is_leader(self) -> bool:
        return self.rank == 0
