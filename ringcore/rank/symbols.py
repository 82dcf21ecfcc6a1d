"""Gives functions that are loaded in this process further names that the dynamic linker finds.

What binds later, and asks for one of the names, gets the function. No file and no code is changed: a
shared object of nothing but a symbol table, made in memory, is loaded beside the others. Linux only.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Mapping

_MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine of the ELF header
_HEADER, _SEGMENT, _SYMBOL, _ENTRY = 64, 56, 24, 16  # bytes of each of ELF64's structures
_PAGE = 1 << 16  # the largest page of either machine
_ABSOLUTE = 0xFFF1  # SHN_ABS: the value is the address itself, whatever the object's own place
_GLOBAL_FUNCTION = 0x12
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_HASH, _STRINGS, _SYMBOLS, _STRINGS_SIZE, _SYMBOL_SIZE = 4, 5, 6, 10, 11


def publish(addresses: Mapping[str, int]) -> None:
    """Make ``addresses`` known by their names, for the life of the process. Raises ``OSError``."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(f"no symbol table can be made for {platform.machine()}")
    descriptor = os.memfd_create("mlxring-symbols")
    try:
        os.write(descriptor, shared_object(machine, addresses))
        ctypes.CDLL(f"/proc/self/fd/{descriptor}", ctypes.RTLD_GLOBAL)
    finally:
        os.close(descriptor)


def shared_object(machine: int, addresses: Mapping[str, int]) -> bytes:
    """An ELF64 shared object (System V gABI, chapters 4 and 5) whose symbols are absolute.

    Its layout: header, three segments, symbols, hash table of one bucket, names, dynamic section.
    """
    names, symbols = b"\0", bytes(_SYMBOL)
    for name, address in addresses.items():
        symbols += struct.pack("<IBBHQQ", len(names), _GLOBAL_FUNCTION, 0, _ABSOLUTE, address, 0)
        names += name.encode() + b"\0"
    count = 1 + len(addresses)
    first, *following = [*range(1, count), 0]  # one chain through all of them
    hashes = struct.pack(f"<{3 + count}I", 1, count, first, 0, *following)

    at_symbols = _HEADER + 3 * _SEGMENT
    at_hashes = at_symbols + len(symbols)
    at_names = at_hashes + len(hashes)
    at_dynamic = -(-(at_names + len(names)) // 16) * 16
    entries = (
        (_HASH, at_hashes), (_STRINGS, at_names), (_SYMBOLS, at_symbols),
        (_STRINGS_SIZE, len(names)), (_SYMBOL_SIZE, _SYMBOL), (0, 0),
    )  # fmt: skip
    size = at_dynamic + len(entries) * _ENTRY
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, _HEADER, 0, 0, _HEADER, _SEGMENT, 3, 0, 0, 0
    )
    head += _segment(_LOAD, 0, size, _PAGE)
    head += _segment(_DYNAMIC, at_dynamic, size - at_dynamic, 8)
    head += _segment(_STACK, 0, 0, 16)  # without it the loader would ask for an executable stack
    body = (head + symbols + hashes + names).ljust(at_dynamic, b"\0")
    return body + b"".join(struct.pack("<QQ", *entry) for entry in entries)


def _segment(kind: int, at: int, size: int, align: int) -> bytes:
    readable_writable = 6  # the loader writes into the dynamic section
    return struct.pack("<IIQQQQQQ", kind, readable_writable, at, at, at, size, size, align)
