"""What a host is and has, as read from it over SSH. Sizes in bytes."""

from msgspec import Struct


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


class HostFacts(Struct, frozen=True, kw_only=True):
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
    rings: tuple[str, ...] = ()  # names of rings whose agent runs here
