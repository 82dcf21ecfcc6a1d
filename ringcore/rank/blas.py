"""Which BLAS the matrix products of this process go to; and puts OpenBLAS there, before MLX is loaded.

MLX's Linux wheel carries the reference BLAS, which is many times slower. The package scipy-openblas32
has OpenBLAS with its functions under names of its own: here they get the names that MLX asks for. Knows
nothing of the rank, and does not import MLX.
"""

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from ringcore.rank.symbols import publish

REMEDY = (
    "`mlxring provision` installs scipy-openblas32 there; or install it by hand, then start the ring again"
)
_PACKAGE, _FILE, _PREFIX = "scipy_openblas32", "lib/libscipy_openblas.so", "scipy_"
_WANTED = ("cblas_sgemm", "cblas_dgemm", "cblas_cgemm")  # all that MLX calls of CBLAS
_FAST = {
    "openblas": "OpenBLAS",
    "mkl": "MKL",
    "blis": "BLIS",
    "nvpl": "NVPL",
    "armpl": "ArmPL",
    "atlas": "ATLAS",
}


class Blas(Struct, frozen=True):
    """``threads`` 0 when the library does not tell. ``fast``: made for the processor, not the reference."""

    name: str
    threads: int = 0
    fast: bool = True

    def __str__(self) -> str:
        if not self.threads:
            return self.name
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@cache
def prefer_openblas() -> str:
    """Give MLX OpenBLAS; what stood in the way, or "". To be called before anything imports MLX.

    A BLAS that is there already (``LD_PRELOAD``) stays: somebody chose it.
    """
    if sys.platform != "linux" or _address(ctypes.CDLL(None), _WANTED[0]):
        return ""
    if "mlx.core" in sys.modules:
        return "MLX was loaded before"  # and is bound to its own BLAS for good
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return "scipy-openblas32 is not installed"
    try:
        library = ctypes.CDLL(str(Path(spec.submodule_search_locations[0], _FILE)))
        addresses = {name: _address(library, _PREFIX + name) for name in _WANTED}
        if not all(addresses.values()):
            return f"{_FILE} has other names than {_PREFIX}{_WANTED[0]}"
        publish(addresses)
    except OSError as error:
        return str(error)
    return ""


def blas_in_use() -> Blas:
    """What MLX's calls of CBLAS are bound to in this process, which has loaded MLX."""
    if sys.platform == "darwin":
        return describe("darwin", "")
    file = _serving_file()
    if not file:
        return Blas("an unknown BLAS")
    library = ctypes.CDLL(file)
    return describe(
        "linux",
        file,
        _text(library, "openblas_get_config"),
        _text(library, "openblas_get_corename"),
        _number(library, "openblas_get_num_threads"),
    )


def describe(system: str, file: str, config: str = "", core: str = "", threads: int = 0) -> Blas:
    """``file`` is where the functions are; the rest is what OpenBLAS says of itself."""
    if system == "darwin":
        return Blas("Accelerate")  # MLX on macOS is linked with nothing else
    if config:
        return Blas(" ".join([*config.split()[:2], core]).strip(), threads)
    path = Path(file)
    places = [part.lower() for part in path.parts[-2:]]
    for word, name in _FAST.items():
        if any(word in place for place in places):
            return Blas(name, threads)
    return Blas(f"reference BLAS ({path.name})", fast=False)


class _Place(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _serving_file() -> str:
    """The file that has cblas_sgemm for MLX: looked up as the linker did, in all that is global, then in
    MLX's own dependencies."""
    everything = ctypes.CDLL(None)
    address = _address(everything, _WANTED[0])
    if not address:
        mlx = _loaded("/libmlx.so")
        address = _address(ctypes.CDLL(mlx), _WANTED[0]) if mlx else 0
    place = _Place()
    if not address or not everything.dladdr(ctypes.c_void_p(address), ctypes.byref(place)):
        return ""
    return str(Path((place.file or b"").decode()).resolve())


def _loaded(ending: str) -> str:
    """The path of the first file mapped into this process that ends so."""
    for entry in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        path = entry.split(maxsplit=5)[-1]
        if path.endswith(ending):
            return path
    return ""


def _address(library: ctypes.CDLL, name: str) -> int:
    """0 when it has no such function."""
    function = getattr(library, name, None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function is not None else 0


def _text(library: ctypes.CDLL, name: str) -> str:
    for prefix in ("", _PREFIX):
        function = getattr(library, prefix + name, None)
        if function is not None:
            function.restype = ctypes.c_char_p
            return (function() or b"").decode(errors="replace")
    return ""


def _number(library: ctypes.CDLL, name: str) -> int:
    for prefix in ("", _PREFIX):
        function = getattr(library, prefix + name, None)
        if function is not None:
            return int(function())
    return 0
