"""Where a result comes from: the code that a script imports."""

from stratamil.core import provenance

FILES = {
    "tool.py": "import os\nfrom library.mil import training\nimport library.core.files as f",
    "library/__init__.py": "",
    "library/mil/__init__.py": "from . import bags",
    "library/mil/training.py": "from .model import A\nfrom ..core import tables\ndef f():\n from library import late",
    "library/mil/model.py": "import numpy",
    "library/mil/bags.py": "",
    "library/mil/unused.py": "",
    "library/core/__init__.py": "",
    "library/core/files.py": "from library.mil import training  # a circle",
    "library/core/tables.py": "",
    "library/late.py": "",
}


def test_the_closure_has_packages_relative_and_late_imports_and_nothing_else(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = [path.relative_to(tmp_path).as_posix() for path in provenance.closure(tmp_path / "tool.py", tmp_path)]
    assert found[0] == "tool.py" and len(found) == len(set(found))
    assert set(found) == set(FILES) - {"library/mil/unused.py"}


def test_kept_results_depend_on_the_code_that_computes_and_not_on_what_reads_and_reports(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(provenance, "SCRIPTS", tmp_path)
    digests = [provenance.code_digest(str(tmp_path / "library/mil/training.py"))]
    for name in ("library/mil/unused.py", "library/core/files.py", "library/late.py", "library/mil/model.py"):
        (tmp_path / name).write_text("edited = 1")
        digests.append(provenance.code_digest(str(tmp_path / "library/mil/training.py")))
    assert digests[0] == digests[1] == digests[2] and len(set(digests[2:])) == 3


def test_a_module_of_the_same_name_elsewhere_is_not_taken(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "numpy.py").write_text("")
    (tmp_path / "inside/a.py").write_text("import numpy")
    assert provenance.closure(tmp_path / "inside/a.py", tmp_path / "inside") == [tmp_path / "inside/a.py"]
