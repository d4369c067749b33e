"""Files of features are trusted with nothing: not their sizes, their links, their types, nor that they can be read."""

import io
import os
import signal
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from feature_files import XY, D, X, clam, h5, listed, made, problems, scan
from fuzz_features import damaged, layouts, read, trees
from hypothesis import HealthCheck, given, seed, settings
from repository import REPOSITORY
from seeds import SEED

from stratamil.core import isolated
from stratamil.core.errors import REFUSALS, UserError
from stratamil.features import precomputed, precomputed_checks, precomputed_readers


def refused(path, words):
    """The one line that says why a file cannot be used has these words."""
    with pytest.raises(UserError) as error:
        read(path)
    [line] = error.value.problems
    assert words in line and str(path) in line and "\n" not in line, line


def virtual(path, *parts, shape=(5, D)):
    """A virtual data set; parts: (rows here, file, rows there)."""
    layout = h5py.VirtualLayout(shape, "f4")
    for here, file, there in parts:
        layout[here] = h5py.VirtualSource(file, "features", (5, D))[there]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("features", layout)


def raw(path, target, size):
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (5, D), "f4", external=[(str(target), 0, size)])


@pytest.fixture
def study(tmp_path):
    """The folder of a study, and beside it a file that is none of its business."""
    (tmp_path / "study").mkdir()
    for folder in (tmp_path, tmp_path / "study"):
        h5(features=X, coords=XY)(folder / "other.h5")
    (tmp_path / "study/raw.bin").write_bytes(X.tobytes())
    return tmp_path / "study"


def pt(content):
    return lambda path: torch.save(content, path)


@pytest.mark.parametrize(
    "content",
    [
        torch.from_numpy(X),
        torch.from_numpy(X)[None],
        {"feats": torch.from_numpy(X), "coords": torch.from_numpy(XY), "epoch": 3},
        {"Features": torch.from_numpy(X).double(), "coords": XY.tolist()},
        torch.from_numpy(np.ascontiguousarray(X.T)).T,
    ],
    ids=["CLAM", "leading", "dict", "lists", "view"],
)
@pytest.mark.parametrize("old", [False, True])
def test_tensors_of_torch(tmp_path, content, old):
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    assert np.array_equal(read(tmp_path / "a.pt"), X)
    coords = precomputed.describe(tmp_path / "a.pt").coords
    assert np.array_equal(coords, XY) if isinstance(content, dict) else coords is None


def test_a_tensor_of_several_slices_has_columns_and_bfloat16_is_known(tmp_path):
    half = torch.from_numpy(X).bfloat16()
    torch.save({"features": half, "case": list("aabbb"), "instance": torch.arange(5)}, tmp_path / "a.pt")
    assert np.array_equal(read(tmp_path / "a.pt"), half.float().numpy())
    source = precomputed.describe(tmp_path / "a.pt")
    assert source.columns["case"].tolist() == list("aabbb") and source.columns["instance"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (pt({"x": torch.zeros(2)}), "no tensor features or feats: it has x"),
        (pt([torch.zeros(2, 3)]), "no tensor features or feats: it has list"),
        (pt(torch.nn.Linear(2, 2)), "holds more than tensors, numbers and texts"),
        (pt(torch.zeros(3)), "not one row a patch: give features of patches"),
        (pt(torch.zeros(5, 3).to_sparse()), "sparse or quantised"),
        (pt(torch.zeros(5, 3, dtype=torch.complex64)), "features are no numbers"),
        (pt(torch.zeros(1, 1).expand(20_000_000, 1000)), "more than the file can hold"),
        (pt({"features": torch.zeros(5, 3), "coords": torch.zeros(4, 2)}), "coords of shape (4, 2) for 5 rows"),
        (pt({"features": torch.zeros(5, 3), "case": {"a": 1}}), "case is neither a tensor nor a list"),
        (lambda path: path.write_bytes(b"PK\3\4 nothing"), "cannot be read"),
    ],
)
def test_a_file_of_torch_that_is_no_features(tmp_path, write, words):
    write(tmp_path / "a.pt")
    refused(tmp_path / "a.pt", words)


@pytest.mark.parametrize("kind", ["slide", "patient"])
def test_features_of_a_slide_are_refused(tmp_path, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:  # as STAMP 2 writes them
        file["feats"], file.attrs["feat_type"] = X[:1], kind
    refused(tmp_path / "a.h5", f"features of a {kind}, not of patches: give those of its tiles")


ALL = np.s_[:]
OUTSIDE = {
    "link": lambda path: h5(features=h5py.ExternalLink("../other.h5", "features"))(path),
    "link by a link": lambda path: h5(
        away=h5py.ExternalLink("../other.h5", "/"), features=h5py.SoftLink("away/features")
    )(path),
    "coords": lambda path: h5(features=X, coords=h5py.ExternalLink("../other.h5", "coords"))(path),
    "virtual": lambda path: virtual(path, (ALL, "../other.h5", ALL)),
    "by a symbolic link": lambda path: (
        (path.parent / "near.h5").symlink_to("../other.h5"),
        virtual(path, (ALL, "near.h5", ALL)),
    ),
    "storage": lambda path: raw(path, "/etc/passwd", 4 * X.size),
}  # fmt: skip


@pytest.mark.parametrize("write", OUTSIDE.values(), ids=OUTSIDE)
def test_nothing_is_read_from_outside_the_folder(study, write):
    write(study / "a.h5")
    refused(study / "a.h5", f"outside of {study}: copy the data into this file")


def test_sources_in_the_folder_are_read(study):
    h5(features=h5py.ExternalLink("other.h5", "features"))(study / "link.h5")
    virtual(study / "virtual.h5", (np.s_[:3], "other.h5", np.s_[2:]), (np.s_[3:], "virtual2.h5", np.s_[:2]))
    virtual(study / "virtual2.h5", (ALL, "other.h5", ALL))
    raw(study / "raw.h5", study / "raw.bin", 4 * X.size)
    (study / "named.h5").symlink_to("../other.h5")  # by the user
    for name in ("link", "raw", "named"):
        assert np.array_equal(read(study / f"{name}.h5"), X)
    assert np.array_equal(read(study / "virtual.h5"), X[[2, 3, 4, 0, 1]])


GONE = {
    "virtual": (lambda path: virtual(path, (ALL, "gone.h5", ALL)), "whose source gone.h5 is gone"),
    "part of it": (lambda path: virtual(path, (np.s_[:3], "other.h5", np.s_[:3])), "without a source of 2 rows"),
    "some columns": (
        lambda path: virtual(path, (np.s_[:, :2], "other.h5", np.s_[:, :2])),
        "not whole rows of its sources",
    ),
    "of a smaller source": (
        lambda path: (h5(features=X[:3])(path.parent / "few.h5"), virtual(path, (ALL, "few.h5", ALL))),
        "not whole rows of its sources",
    ),
    "of itself": (lambda path: virtual(path, (ALL, ".", ALL)), "without end"),
    "link": (lambda path: h5(features=h5py.ExternalLink("gone.h5", "features"))(path), "link that leads nowhere"),
    "soft link": (lambda path: h5(features=h5py.SoftLink("/features"))(path), "link that leads nowhere"),
    "storage": (lambda path: raw(path, path.parent / "gone.bin", 4 * X.size), "gone or too short"),
    "short storage": (
        lambda path: ((path.parent / "x.bin").write_bytes(b"x" * 20), raw(path, path.parent / "x.bin", 4 * X.size)),
        "gone or too short",
    ),
}


@pytest.mark.parametrize("write, words", GONE.values(), ids=GONE)
def test_what_is_not_there_is_not_read_as_0(study, write, words):
    write(study / "a.h5")
    refused(study / "a.h5", words)


@pytest.mark.parametrize("chunks", [None, (2, D)])
@pytest.mark.parametrize("written", [0, 3])
def test_data_that_was_never_written_is_refused(tmp_path, chunks, written):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("features", (5, D), "f4", chunks=chunks)
        if chunks:
            dataset[:written] = X[:written]
    refused(tmp_path / "a.h5", "parts were written, the rest would be 0")


def header(shape, kind="<f4"):
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": kind, "fortran_order": False, "shape": shape})
    return text.getvalue()


def claiming(shape, name="features"):
    """An npz with an array of this shape and 20 bytes."""

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.npy", header(shape) + b"x" * 20)
            if name != "features":
                archive.writestr("features.npy", header((5, 1)) + b"x" * 20)

    return write


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", header((5, D)) + X.tobytes())
        archive.writestr("case.npy", header((5,), "<U10000000") + bytes(200_000_000))


def sparse(shape, chunks):
    def write(path):
        with h5py.File(path, "w") as file:
            file.create_dataset("features", shape, "f4", chunks=chunks)

    return write


CLAIMS = {
    "rows": ("a.h5", sparse((10**9, D), (10, D))),
    "columns": ("a.h5", sparse((5, 10**9), (1, 10))),
    "chunks": ("a.h5", sparse((10**7, 10**5), (1000, 1000))),
    "npz": ("a.npz", claiming((10**6, 10**5))),
    "npz, fewer": ("a.npz", claiming((2, 2))),
    "npz, coords": ("a.npz", claiming((5, 2), "coords")),
    "npz, below 0": ("a.npz", claiming((-5, -1))),
    "npz, too large a number": ("a.npz", claiming((10**30, 10**30))),
    "parquet": ("a.parquet", lambda path: pd.DataFrame({"f0": np.zeros(3_000_000, "f4")}).to_parquet(path)),
}


@pytest.mark.parametrize("name, write", CLAIMS.values(), ids=CLAIMS)
def test_no_memory_is_taken_for_what_a_file_claims(tmp_path, monkeypatch, name, write):
    write(tmp_path / name)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    with pytest.raises(UserError, match=r"claims|parts were written|of shape \(-?\d+") as error:
        precomputed_readers.describe(tmp_path / name)
    assert len(error.value.problems) == 1


def of_type(kind):
    return X.astype(kind) if kind != "null" else h5py.Empty("f4")


TYPES = {
    "null": "a null data set",
    "bool": "no numbers",
    "complex64": "no numbers",
    "int16": "bits of bfloat16",
    "uint16": "bits of bfloat16",
    ">u2": "bits of bfloat16",
    "S4": "no numbers",
}


@pytest.mark.parametrize("kind, words", TYPES.items(), ids=TYPES)
def test_types_that_are_no_features(tmp_path, kind, words):
    h5(features=of_type(kind), coords=XY)(tmp_path / "a.h5")
    refused(tmp_path / "a.h5", words)
    if kind != "null":
        np.savez(tmp_path / "a.npz", features=of_type(kind))
        refused(tmp_path / "a.npz", words)


def test_other_shapes_and_types_of_hdf5(tmp_path):
    kinds = {
        "enum": h5py.enum_dtype({"a": 1, "b": 2}),
        "reference": h5py.ref_dtype,
        "region": h5py.regionref_dtype,
        "text": h5py.string_dtype(),
        "lists": h5py.vlen_dtype("f4"),
        "compound": np.dtype([("x", "f4")]),
        "arrays": np.dtype(("f4", (3,))),
    }
    for name, kind in kinds.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("features", (5, D), kind)
        refused(tmp_path / f"{name}.h5", "features")
    for shape in ((), (5,), (0, 5), (5, 0), (2, 5, 5), (1, 1, 5, 5)):
        h5(features=np.zeros(shape))(tmp_path / "shape.h5")
        refused(tmp_path / "shape.h5", "shape.h5: ")
    with h5py.File(tmp_path / "bytes.h5", "w") as file:
        file[b"\xff\n\x1b[31m"] = X
    refused(tmp_path / "bytes.h5", "no dataset features or feats")


@pytest.mark.parametrize("kind", [">f8", "<f2", "int8", "uint8", "longdouble"])
def test_numbers_of_any_kind_are_taken(tmp_path, kind):
    values = np.round(X * 9).astype("int8").astype(kind)
    h5(features=values, coords=XY.astype(">i8"))(tmp_path / "a.h5")
    np.savez(tmp_path / "b.npz", Features=values, COORDS=XY.astype(">f8"), Case=np.arange(5).astype(">i4"))
    np.savez(tmp_path / "c.npz", features=np.asfortranarray(values)[None])
    rows = ["a.h5,1,he,1", "b.npz,,he,2", "c.npz,6,sox10,1"]
    table = scan(listed(tmp_path, *rows)).patches
    expected = np.concatenate([values] * 3).astype("float16")
    assert np.array_equal(precomputed.take(table, tmp_path, D), expected)
    assert table["case_id"].tolist() == ["1"] * 5 + ["0", "1", "2", "3", "4"] + ["6"] * 5
    assert np.array_equal(table[["x", "y"]][:10], np.concatenate([XY, XY]))


@pytest.mark.parametrize("index", ["case", "instance", "Case"])
def test_the_index_of_a_table_is_a_column(tmp_path, index):
    table = pd.DataFrame({"case": list("12345"), "Stain": "HE", "slice": "a", "instance": range(100, 105)})
    table = pd.concat([table, pd.DataFrame(X, columns=[f"F{i}" for i in range(D)])], axis=1)
    table.rename(columns={index.lower(): index}).set_index(index).to_parquet(tmp_path / "a.parquet")
    found = scan(listed(tmp_path, "a.parquet", head="FILE")).patches
    assert found["case_id"].tolist() == list("12345") and found["patch"].tolist() == [100, 101, 102, 103, 104]
    assert np.array_equal(precomputed.take(found, tmp_path, D), X.astype("float16"))


def test_two_headings_of_one_name(tmp_path):
    pd.DataFrame({"case": ["1"], "Case": ["2"], "f0": [1.0]}).to_parquet(tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "case and Case are one name")


@pytest.mark.parametrize(
    "values, words",
    [
        (np.zeros((5, D)), "all its features are 0"),
        (np.full((5, D), 1e-12), "all its features are 0"),  # as float16
        (np.repeat(X[:, :1], D, axis=1), "each row holds one value"),
        (np.repeat(X[:1], 5, axis=0), "all its rows are equal"),
        (np.where(np.arange(D) == 3, np.nan, X), "features that are no number or beyond 65504 (in column 3)"),
    ],
    ids=["zero", "tiny", "constant", "equal", "nan"],
)  # fmt: skip
def test_features_without_information(tmp_path, values, words):
    clam(tmp_path / "a.h5", values, XY)
    table = scan(listed(tmp_path, "a.h5,1,he,match1")).patches
    with pytest.raises(UserError) as error:
        precomputed.take(table, tmp_path, D)
    assert words in str(error.value)


def test_some_rows_without_information_are_counted(tmp_path, caplog):
    values = X.copy()
    values[1], values[3] = 0, 7
    clam(tmp_path / "a.h5", values, XY)
    table = scan(listed(tmp_path, "a.h5,1,he,match1")).patches
    assert np.array_equal(precomputed.take(table, tmp_path, D), values.astype("float16"))
    assert "2 rows hold one value in all columns, 1 of them 0" in caplog.text


def die(number):
    """A reader that ends its own process at b.h5."""

    def describe(path, folder):
        if path.name == "b.h5":
            os.kill(os.getpid(), number)
        return precomputed_checks.Source(5, D)

    return describe


@pytest.mark.parametrize(
    "number, words",
    [
        (signal.SIGSEGV, "the HDF5 library crashed on it (signal 11): it is damaged"),
        (signal.SIGKILL, "memory runs out"),
    ],
)
def test_a_reader_that_dies_is_a_line(tmp_path, monkeypatch, number, words):
    for name in "abc":
        clam(tmp_path / f"{name}.h5", X, XY)
    path = listed(tmp_path, "a.h5,1,he,1", "b.h5,2,he,1", "c.h5,3,he,1")
    table = scan(path).patches
    monkeypatch.setattr(precomputed_readers, "describe", die(number))
    [said] = problems(path)
    assert "row 3: b.h5: " in said and words in said
    blocks = precomputed_readers.blocks
    monkeypatch.setattr(
        precomputed_readers, "blocks", lambda path, *args: die(number)(path, None) and blocks(path, *args)
    )
    with pytest.raises(UserError) as error:
        precomputed.take(table, tmp_path, D)
    assert len(error.value.problems) == 1 and "b.h5" in str(error.value)


def test_a_reader_that_hangs_is_a_line(tmp_path, monkeypatch):
    clam(tmp_path / "a.h5", X, XY)
    monkeypatch.setattr(isolated, "PATIENCE", 0.2)
    monkeypatch.setattr(precomputed_readers, "describe", lambda path, folder: signal.pause())
    [said] = problems(listed(tmp_path, "a.h5,1,he,1"))
    assert "no end of reading it" in said


def test_a_reader_that_is_stopped_is_no_damage(tmp_path, monkeypatch):
    for name in "ab":
        clam(tmp_path / f"{name}.h5", X, XY)
    monkeypatch.setattr(precomputed_readers, "describe", die(signal.SIGTERM))
    with pytest.raises(isolated.Stopped):
        scan(listed(tmp_path, "a.h5,1,he,1", "b.h5,2,he,1"))


def test_blocks_may_be_read_side_by_side_and_left(tmp_path):
    for n, name in enumerate("ab"):
        clam(tmp_path / f"{name}.h5", *made(5, seed=n))
    a, b = (precomputed.blocks(tmp_path / f"{name}.h5") for name in "ab")
    assert not np.array_equal(next(a)[1], next(b)[1])
    a.close()
    assert np.array_equal(next(precomputed.blocks(tmp_path / "a.h5"))[1], X)


@pytest.mark.parametrize("number", REFUSALS)
def test_what_the_machine_refuses_is_no_damage(tmp_path, monkeypatch, number):
    clam(tmp_path / "a.h5", X, XY)

    def refuse(*args, **kwargs):
        raise OSError(f"Unable to open file (errno = {number}, error message = '...')")

    monkeypatch.setattr(h5py, "File", refuse)
    [said] = problems(listed(tmp_path, "a.h5,1,he,1"))
    assert os.strerror(number) in said and REFUSALS[number] in said and "recreate" not in said


@pytest.mark.slow
def test_hdf5_needs_no_locks(tmp_path):
    """On a file system without them, flock fails."""
    source = "#include <errno.h>\nint flock(int f, int op) { errno = ENOLCK; return op & 8 ? 0 : -1; }\n"
    (tmp_path / "nolock.c").write_text(source)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "nolock.so", tmp_path / "nolock.c"], check=False)
    if built.returncode or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and LD_PRELOAD")
    clam(tmp_path / "a.h5", X, XY)
    program = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'scripts')!r})\n"
        "import numpy as np, pandas as pd\nfrom stratamil.features import precomputed, store\n"
        f"assert precomputed.describe({str(tmp_path / 'a.h5')!r}).rows == 5\n"
        "table = pd.DataFrame({'case_id': ['1'], 'stain': ['he'], 'slice_id': ['1'], 'path': ['p'], 'patch': [1]})\n"
        f"store.write({str(tmp_path / 'b.h5')!r}, np.ones((1, 2), 'f2'), table, "
        "pd.DataFrame(columns=store.UNREADABLE), {})\n"
        f"assert store.read([{str(tmp_path / 'b.h5')!r}]).values.shape == (1, 2)\n"
    )
    environment = os.environ | {"LD_PRELOAD": str(tmp_path / "nolock.so")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


KINDS = {
    "names of other tools": (
        ["f{}.h5,{},x"],
        "file,case_id,slide_id",
        "no column case, stain, slice, and 9 files have none of their own (f1.h5, f2.h5, f3.h5 and 6 more): it has "
        "'file', 'case_id', 'slide_id': rename case_id to case, rename slide_id to slice, add stain",
    ),
    "no file": (["f{},{}"], "slide_id,case", "no column 'file' (nor stain, slice, which"),
    "backslashes": (["x\\f{}.h5,{},he,1"], None, "and 6 more: no such file: write / between folders"),
    "no suffix": (
        ["f{},{},he,1"],
        None,
        "row 2: f1 (f1.h5), row 3: f2 (f2.h5), row 4: f3 (f3.h5) and 6 more: no such file: write its suffix, too",
    ),
    "moved": (["old/f{}.h5,{},he,1"], None, "row 2: old/f1.h5, row 3: old/f2.h5, row 4: old/f3.h5 and 6 more: no such"),
    "absolute": (["/x/f{}.h5,{},he,1"], None, "and 6 more: write it relative to"),
    "twice": (["f1.h5,{},he,1"], None, "row 3: f1.h5 is in row 2 already, row 4"),
    "empty": ([",{},he,1"], None, "row 2, row 3, row 4 and 6 more: no file"),
    "damaged": (["d{}.h5,{},he,1"], None, "row 2: d1.h5, row 3: d2.h5, row 4: d3.h5 and 6 more: cannot be read"),
    "other widths": (["w{}.h5,{},he,1"], None, "row 2: w1.h5, row 3: w2.h5, row 4: w3.h5 and 6 more: coords of shape"),
    "no stain": (["f{}.h5,{},,1"], None, "and 6 more: no stain: fill it in"),
}


@pytest.mark.parametrize("rows, head, words", KINDS.values(), ids=KINDS)
def test_one_line_a_kind_with_a_count_and_examples(tmp_path, rows, head, words):
    for i in range(1, 10):
        clam(tmp_path / f"f{i}.h5", X, XY)
        h5(features=X[:4], coords=np.zeros((10 + i, 2)))(tmp_path / f"w{i}.h5")
        (tmp_path / f"d{i}.h5").write_bytes(b"damaged" * i)
    listed_rows = [row.format(i, i) for i in range(1, 10) for row in rows]
    [said] = problems(listed(tmp_path, *listed_rows, **({"head": head} if head else {})))
    assert words in said


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(tree=trees)
def test_any_hdf5_file_is_read_or_refused_in_a_line(tmp_path, tree):
    path = tmp_path / "a.h5"
    tree(path)
    assert_line_or_rows(path)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(layout=layouts, damage=damaged)
def test_any_damage_is_read_or_refused_in_a_line(tmp_path, layout, damage):
    assert_line_or_rows(damage(layout(tmp_path)))


MANY = settings(deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.long
@seed(SEED)
@MANY
@given(tree=trees)
def test_many_hdf5_files_are_read_or_refused_in_a_line(tmp_path, tree):
    tree(tmp_path / "a.h5")
    assert_line_or_rows(tmp_path / "a.h5")


@pytest.mark.long
@seed(SEED)
@MANY
@given(layout=layouts, damage=damaged)
def test_much_damage_is_read_or_refused_in_a_line(tmp_path, layout, damage):
    assert_line_or_rows(damage(layout(tmp_path)))


def assert_line_or_rows(path):
    try:
        read(path)
    except UserError as error:
        assert all("\n" not in line and str(path) in line for line in error.problems)
