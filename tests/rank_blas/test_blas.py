"""What MLX's products are computed by: read off their last bits, and off what the process says of itself."""

import ctypes
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ringcore.rank.blas import Blas, describe
from ringcore.rank.symbols import shared_object
from tests.ring.harness import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS has Accelerate, nothing to choose")

# 1 process: the product by MLX and by both libraries called directly.
PRODUCTS = """
import ctypes, json, sys
from pathlib import Path
from ringcore.rank.blas import blas_in_use, prefer_openblas
if "prefer" in sys.argv:
    assert prefer_openblas() == "", prefer_openblas()
import mlx.core as mx, mlx, numpy, scipy_openblas32

M, N, K = 61, 83, 977  # long sums, whose last bits tell in which order they were taken
a = numpy.sin(numpy.arange(M * K, dtype=numpy.float32)).reshape(M, K)
b = numpy.cos(numpy.arange(K * N, dtype=numpy.float32)).reshape(K, N)

def by(library, name):
    c = numpy.zeros((M, N), numpy.float32)
    data = [x.ctypes.data_as(ctypes.c_void_p) for x in (a, b, c)]
    one, nought = ctypes.c_float(1), ctypes.c_float(0)
    getattr(library, name)(101, 111, 111, M, N, K, one, data[0], K, data[1], N, nought, data[2], N)
    return c

folder = Path(scipy_openblas32.__file__).parent / "lib"
fast = by(ctypes.CDLL(str(folder / "libscipy_openblas.so")), "scipy_cblas_sgemm")
libraries = Path(list(mlx.__path__)[0]).parent / "mlx_cpu.libs"
slow = by(ctypes.CDLL(str(next(libraries.glob("libblas*")))), "cblas_sgemm")
product = numpy.array(mx.array(a) @ mx.array(b))
blas = blas_in_use()
print(json.dumps({
    "openblas": bool((product == fast).all()), "reference": bool((product == slow).all()),
    "near": bool(numpy.allclose(fast, slow, atol=1e-3)), "name": blas.name, "threads": blas.threads,
    "fast": blas.fast,
}))
"""


def run(script: str, *arguments: str, path: Path | None = None, **environment: str) -> str:
    """What a process of its own prints; ``path`` is looked at before the installed packages."""
    places = ":".join([*([str(path)] if path else []), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": places, **environment},
        cwd="/", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def products(*arguments: str, threads: int = 1) -> dict[str, Any]:
    return json.loads(run(PRODUCTS, *arguments, OPENBLAS_NUM_THREADS=str(threads)))


def test_mlx_computes_with_openblas_to_the_last_bit() -> None:
    found = products("prefer")
    assert found["near"] and found["openblas"] and not found["reference"]
    assert found["name"].startswith("OpenBLAS 0.") and found["fast"]
    assert found["threads"] == 1


def test_left_alone_mlx_computes_with_the_reference_blas_and_that_is_what_is_said() -> None:
    found = products()
    assert found["reference"] and not found["openblas"]
    assert "reference" in found["name"] and not found["fast"]


def test_the_number_of_threads_is_the_one_in_the_environment() -> None:
    assert products("prefer", threads=2)["threads"] == 2


SAY = "from ringcore.rank.blas import prefer_openblas; print(prefer_openblas())"


def test_a_process_that_has_loaded_mlx_is_told_that_it_is_too_late() -> None:
    assert run(f"import mlx.core; {SAY}") == "MLX was loaded before"


def test_a_missing_package_is_named() -> None:
    hidden = "import sys; from ringcore.rank import blas; blas.find_spec = lambda name: None\n"
    assert run(hidden + SAY) == "scipy-openblas32 is not installed"


def test_a_library_that_cannot_be_loaded_is_passed_over_with_the_reason(tmp_path: Path) -> None:
    library = tmp_path / "scipy_openblas32" / "lib" / "libscipy_openblas.so"
    library.parent.mkdir(parents=True)
    (tmp_path / "scipy_openblas32" / "__init__.py").touch()
    assert "cannot open shared object file" in run(SAY, path=tmp_path)
    library.write_bytes(b"\x7fELF and no more")
    assert str(library) in run(SAY, path=tmp_path)


def test_a_library_with_other_names_is_passed_over(tmp_path: Path) -> None:
    library = tmp_path / "scipy_openblas32" / "lib" / "libscipy_openblas.so"
    library.parent.mkdir(parents=True)
    (tmp_path / "scipy_openblas32" / "__init__.py").touch()
    library.write_bytes(shared_object({"x86_64": 62, "aarch64": 183}[platform.machine()], {"other": 1}))
    assert "has other names" in run(SAY, path=tmp_path)


def test_a_blas_that_the_operator_put_there_stays(tmp_path: Path) -> None:
    """As LD_PRELOAD would: there is a cblas_sgemm before ours."""
    theirs = "import ctypes; from ringcore.rank.symbols import publish; publish({'cblas_sgemm': 4096})\n"
    find = "print(ctypes.cast(ctypes.CDLL(None).cblas_sgemm, ctypes.c_void_p).value)"
    assert run(f"{theirs}{SAY}\n{find}") == "4096"


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three", "a_longer_name_than_the_others"]])
def test_published_names_are_found_by_the_dynamic_linker(names: list[str]) -> None:
    wanted = {name: 4096 * (number + 1) for number, name in enumerate(names)}
    script = f"""
import ctypes, json
from ringcore.rank.symbols import publish
publish({wanted!r})
everything = ctypes.CDLL(None)
found = {{name: ctypes.cast(getattr(everything, name), ctypes.c_void_p).value for name in {names!r}}}
print(json.dumps([found, hasattr(everything, "four")]))
"""
    assert json.loads(run(script)) == [wanted, False]


def test_publishing_asks_for_no_executable_stack() -> None:
    stacks = "[l for l in open('/proc/self/maps') if '[stack]' in l and 'x' in l.split()[1]]"
    script = f"from ringcore.rank.symbols import publish; publish({{'one': 4096}}); print({stacks})"
    assert run(script) == "[]"


def test_a_processor_without_a_known_format_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from ringcore.rank import symbols

    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        symbols.publish({"one": 1})


CONFIG = "OpenBLAS 0.3.31 DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64"


@pytest.mark.parametrize(
    ("asked", "text", "fast"),
    [
        (("linux", "/v/libscipy_openblas.so", CONFIG, "Zen", 1), "OpenBLAS 0.3.31 Zen, 1 thread", True),
        (("linux", "/v/libopenblas.so.0", CONFIG, "Zen", 8), "OpenBLAS 0.3.31 Zen, 8 threads", True),
        (("linux", "/usr/lib/openblas-pthread/libblas.so.3"), "OpenBLAS", True),
        (("linux", "/opt/mkl/lib/libmkl_rt.so.2"), "MKL", True),
        (("linux", "/v/libnvpl_blas_lp64_gomp.so.0"), "NVPL", True),
        (("linux", "/v/mlx_cpu.libs/libblas-1f.so.3"), "reference BLAS (libblas-1f.so.3)", False),
        (("linux", "/home/openblas/v/mlx_cpu.libs/libblas.so"), "reference BLAS (libblas.so)", False),
        (("darwin", ""), "Accelerate", True),
    ],
)
def test_a_blas_is_described_by_what_is_loaded(asked: tuple[Any, ...], text: str, fast: bool) -> None:
    blas = describe(*asked)
    assert (str(blas), blas.fast) == (text, fast)


def test_the_tests_own_process_computes_as_the_ranks_do() -> None:
    import mlx.core  # noqa: F401

    from ringcore.rank.blas import blas_in_use

    assert blas_in_use().name.startswith("OpenBLAS") and isinstance(blas_in_use(), Blas)
    assert ctypes.CDLL(None).cblas_sgemm is not None
