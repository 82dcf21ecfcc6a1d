"""What pip and uv say, for an operator: how far they are, and why they failed. Pure."""

_NETWORK = (
    "connection broken",
    "connectionerror",
    "connection refused",
    "connection reset",
    "timed out",
    "timeout",
    "name resolution",
    "name or service not known",
    "nodename nor servname",
    "network is unreachable",
    "max retries",
    "sslerror",
    "certificate",
    "proxyerror",
    "error sending request",
    "dns error",
)
_DISK = ("no space left on device", "disk quota exceeded", "os error 28")
_INSTALLING = ("installing collected packages", "prepared ")
_STEPS = ("collecting ", "downloaded ")
_INSTALL_SHARE = 0.4  # of the time, once everything is downloaded


def is_network(text: str) -> bool:
    """The package index could not be reached (or not trusted)."""
    low = text.lower()
    return any(word in low for word in _NETWORK)


def is_disk_full(text: str) -> bool:
    low = text.lower()
    return any(word in low for word in _DISK)


def last_error(text: str) -> str:
    """The last line that calls itself an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "oserror", "× ", "x "))]
    return (errors or lines or ["no message"])[-1][-300:]


class InstallProgress:
    """Counts packages as their lines come by. ``total``: how many there will be."""

    def __init__(self, total: int) -> None:
        self.fraction = 0.0
        self.detail = ""
        self._total = max(1, total)
        self._seen = 0

    def take(self, line: str) -> bool:
        """True when ``fraction`` or ``detail`` moved."""
        low = line.strip().lower()
        if low.startswith(_STEPS):
            self._seen = min(self._seen + 1, self._total)
            self.fraction = max(self.fraction, (1 - _INSTALL_SHARE) * self._seen / self._total)
            self.detail = f"{line.split()[1]} ({self._seen} of {self._total} packages)"
        elif low.startswith(_INSTALLING):
            self.fraction = max(self.fraction, 1 - _INSTALL_SHARE)
            self.detail = f"installing {self._total} packages"
        else:
            return False
        return True
