"""What a host is and has, as read from it over SSH. Sizes in bytes."""

from msgspec import Struct

# What MLX's installation page asks for its CUDA 12 build.
LEAST_DRIVER = (550, 54, 14)
LEAST_CAPABILITY = (7, 5)


class PythonFound(Struct, frozen=True):
    """An interpreter by absolute path. ``has_lock``: every locked package is there as locked."""

    path: str
    version: tuple[int, int, int]
    has_venv: bool = True
    has_lock: bool = False


class NetworkAddress(Struct, frozen=True):
    interface: str
    address: str
    kind: str = ""  # "ethernet" | "wifi" | "thunderbolt" | "loopback" | ""
    prefix: int = 0  # bits of its network, 0 when the host did not say


class AgentFound(Struct, frozen=True):
    """An agent that runs on a host, of whichever user and home; ``run`` is its run folder."""

    ring: str
    user: str
    pid: int
    run: str


class Listening(Struct, frozen=True):
    """A TCP port that somebody listens on; ``address`` "" means all of the host's."""

    address: str
    port: int


class Gpu(Struct, frozen=True, kw_only=True):
    """An NVIDIA card as its driver tells of it. Memory 0: it has none of its own, it shares the host's."""

    name: str
    total_memory_bytes: int = 0
    free_memory_bytes: int = 0
    driver: tuple[int, ...] = ()
    capability: tuple[int, ...] = ()  # () where the driver is too old to say


class Measured(Struct, frozen=True, kw_only=True):
    """How fast a host proved to be: GB/s of a large array, and 1e12 operations a second of a product of
    matrices (0.0 where that could not be measured). ``computes_with`` in words; ``when`` in seconds since
    the Unix epoch. ``gpu_limit_bytes``: what Metal itself gives as its working set."""

    bandwidth: float
    compute: float
    computes_with: str
    when: float
    gpu_limit_bytes: int = 0


class HostFacts(Struct, frozen=True, kw_only=True):
    """``available_memory_bytes`` is free or given up on demand, ``reclaimable_memory_bytes`` that second
    part. ``wired_limit_bytes``: ``iogpu.wired_limit_mb`` of a Mac, 0 where macOS decides."""

    host: str
    os: str  # "linux" | "darwin"
    arch: str
    user: str
    home: str
    shell: str
    cores: int
    total_memory_bytes: int
    available_memory_bytes: int
    disk_free_bytes: int
    chip: str = ""
    pythons: tuple[PythonFound, ...] = ()
    uv: str = ""  # path of uv, "" when absent
    addresses: tuple[NetworkAddress, ...] = ()
    clock_skew_seconds: float = 0.0
    rings: tuple[str, ...] = ()  # names of rings whose agent runs here, of this user and home
    agents: tuple[AgentFound, ...] = ()  # of all users and homes
    listening: tuple[Listening, ...] = ()
    os_version: str = ""
    reclaimable_memory_bytes: int = 0
    swap_bytes: int = 0
    swap_used_bytes: int = 0
    gpu_cores: int = 0  # of an Apple chip; 0 when it does not say
    wired_limit_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    measured: Measured | None = None

    @property
    def cuda(self) -> Gpu | None:
        """The card that a rank on this host computes on; None when it does not compute on one."""
        return card_of(self.gpus)


def card_of(gpus: tuple[Gpu, ...]) -> Gpu | None:
    """The first card, if MLX's CUDA build can use it."""
    return gpus[0] if gpus and usable(gpus[0]) else None


def usable(card: Gpu) -> bool:
    """By MLX's CUDA build."""
    return card.driver >= LEAST_DRIVER and (card.capability or LEAST_CAPABILITY) >= LEAST_CAPABILITY
