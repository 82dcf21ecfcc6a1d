"""Packages of a few bytes for tests of installing: real wheel files, and the lock file that names them."""

import hashlib
import zipfile
from pathlib import Path

NEEDED = ("msgspec", "psutil", "numpy", "tokenizers", "mlx")  # what must load in an environment of ours


def make_wheel(
    folder: Path, name: str, files: dict[str, bytes] | None = None, tag: str = "py3-none-any"
) -> Path:
    """``name`` in version 1; by default a module of its name (``mlx``: a package with ``core``)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1-{tag}.whl"
    info = f"{name}-1.dist-info"
    contents = files or {f"{name}.py": b"", **({"mlx/core.py": b""} if name == "mlx" else {})}
    contents = {key: value for key, value in contents.items() if key != "mlx.py"} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for member, data in contents.items():
            wheel.writestr(member, data)
        record = "".join(f"{member},,\n" for member in contents) + f"{info}/RECORD,,\n"
        wheel.writestr(f"{info}/RECORD", record)
    return path


def lock_of(*wheels: Path) -> bytes:
    """The lock file that pins ``wheels``, as uv writes them."""
    lines = ["# made by a tool"]
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        lines += [
            f"{name}=={version} \\",
            f"    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}",
        ]
    return "".join(f"{line}\n" for line in lines).encode()
