"""Headers of safetensors files: read without their data, and every kind of damage is told by file."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringcore.checkpoint.survey import Tensor, Unreadable, read_header, read_tensors
from tests.checkpoint.files import header, index, write, write_raw

TWO = {"b": ("F32", (2, 3)), "a": ("BF16", (4,))}


def refused(path: Path, remedy: str = "again") -> str:
    """The cause, which must name ``path``; ``path`` a folder or a file."""
    with pytest.raises(Unreadable) as caught:
        if path.is_dir():
            read_tensors(path)
        else:
            list(read_header(path))
    assert str(path) in caught.value.cause
    assert remedy in caught.value.remedy
    return caught.value.cause


def test_tensors_come_sorted_by_name_with_their_bytes(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", TWO, {"format": "mlx"})
    assert read_tensors(tmp_path) == [Tensor("a", "BF16", (4,), 8), Tensor("b", "F32", (2, 3), 24)]


def test_all_files_of_the_model_count_and_no_others(tmp_path: Path) -> None:
    write(tmp_path / "model-00001-of-00002.safetensors", {"a": ("F32", (1,))})
    write(tmp_path / "model-00002-of-00002.safetensors", {"b": ("F32", (1,))})
    write(tmp_path / "adapters.safetensors", {"c": ("F32", (1,))})
    assert [tensor.name for tensor in read_tensors(tmp_path)] == ["a", "b"]


def test_the_index_says_which_file_a_tensor_is_taken_from(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", {"a": ("F32", (1,)), "b": ("F32", (9,))})
    write(tmp_path / "model-2.safetensors", {"b": ("F32", (2,))})
    write(tmp_path / "model-3.safetensors", {"c": ("F32", (1,))})
    index(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    assert [(tensor.name, tensor.nbytes) for tensor in read_tensors(tmp_path)] == [("a", 4), ("b", 8)]


def test_a_scalar_and_an_empty_tensor_have_their_bytes(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", {"s": ("F32", ()), "e": ("F32", (0, 4))})
    assert [tensor.nbytes for tensor in read_tensors(tmp_path)] == [0, 4]


def test_only_the_header_is_read(tmp_path: Path) -> None:
    entries, size = header({"a": ("F32", (1 << 30,))})
    path = write_raw(tmp_path / "model.safetensors", json.dumps(entries).encode(), 0)
    os.truncate(path, path.stat().st_size + size)  # four GiB of nothing
    assert read_tensors(tmp_path)[0].nbytes == size


def test_a_folder_without_weights_is_told(tmp_path: Path) -> None:
    assert "no model*.safetensors" in refused(tmp_path, "whole model folder")


def test_files_of_the_index_that_are_missing_are_counted_and_named(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", {"a": ("F32", (1,))})
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    index(tmp_path, names)
    cause = refused(tmp_path, "missing files")
    assert "2 of 3" in cause and "model-2.safetensors, model-3.safetensors" in cause


def test_a_tensor_that_is_not_where_the_index_places_it_is_named(tmp_path: Path) -> None:
    write(tmp_path / "model-1.safetensors", {"a": ("F32", (1,))})
    index(tmp_path, {"a": "model-1.safetensors", "b": "model-1.safetensors"})
    assert "lacks b" in refused(tmp_path)


@pytest.mark.parametrize(
    "weight_map", [None, [], {"a": 1}, {"a": "../x.safetensors"}, {"a": "/etc/x.safetensors"}, {"a": "x.bin"}]
)
def test_an_index_may_name_files_of_the_folder_only(tmp_path: Path, weight_map: object) -> None:
    index(tmp_path, weight_map)
    assert "no weight_map of file names" in refused(tmp_path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000], ids=["cut", "deep"])
def test_an_index_that_is_no_json_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert "not valid JSON" in refused(tmp_path)


def test_a_copy_that_was_cut_short_is_told_by_the_first_tensor_it_lacks(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", TWO)
    os.truncate(path, path.stat().st_size - 1)
    cause = refused(path)
    assert "'a'" in cause and "cut short" in cause


def test_a_copy_cut_inside_the_header_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", TWO)
    os.truncate(path, 20)
    assert "does not fit in its 20 bytes" in refused(path)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_file_shorter_than_its_first_number_is_damaged(tmp_path: Path, size: int) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(size))
    assert "is damaged" in refused(tmp_path / "model.safetensors")


def test_a_length_beyond_the_formats_limit_reads_nothing(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "model.safetensors", b"{}", 0, length=1 << 60)
    assert "a header of 1152921504606846976 bytes" in refused(path)


@pytest.mark.parametrize("head", [b"{", b"\xff\xfe", b"not json", b'{"a":', b"[" * 100_000], ids=range(5))
def test_a_header_that_is_no_json_is_told(tmp_path: Path, head: bytes) -> None:
    assert "no JSON" in refused(write_raw(tmp_path / "model.safetensors", head, 0))


@pytest.mark.parametrize("head", [b"[]", b"3", b'"a"', b"null"])
def test_a_header_that_is_no_table_is_told(tmp_path: Path, head: bytes) -> None:
    assert "no table of tensors" in refused(write_raw(tmp_path / "model.safetensors", head, 0))


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {},
        {"dtype": "F32", "shape": [1]},
        {"dtype": "F77", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [None], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 6]},
    ],
)
def test_an_entry_that_is_not_understood_is_named(tmp_path: Path, entry: object) -> None:
    path = write_raw(tmp_path / "model.safetensors", json.dumps({"odd": entry}).encode(), 8)
    assert "'odd'" in refused(path)


@pytest.mark.parametrize("offsets", [[0, 8], [4, 4], [4, 0], [-4, 0]])
def test_bytes_that_do_not_fit_the_shape_are_told(tmp_path: Path, offsets: list[int]) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": offsets}
    path = write_raw(tmp_path / "model.safetensors", json.dumps({"odd": entry}).encode(), 16)
    assert "do not fit its shape" in refused(path)


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(Unreadable, match="cannot be read"):
        read_tensors(tmp_path)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_byte_is_changed_the_answer_is_tensors_or_says_why(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = write(tmp_path_factory.mktemp("m", numbered=True) / "model.safetensors", TWO)
    raw = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        found = list(read_header(path))
    except Unreadable as error:
        assert str(path) in error.cause
    else:
        assert all(isinstance(tensor.name, str) and tensor.nbytes >= 0 for tensor in found)
