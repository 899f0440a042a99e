from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from serve_app.engines.nemo.imports import deferred


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `heavy` (with `heavy.part`) and a module `user` of it, each new to Python."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy/__init__.py").write_text(
        "class Base:\n    kind = 'real'\ndef double(x):\n    return 2 * x\ntable = {'a': 1}\n"
    )
    (tmp_path / "heavy/part.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("heavy", "heavy.part", "user"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def write_user(folder: Path, code: str) -> None:
    (folder / "user.py").write_text("from __future__ import annotations\n" + textwrap.dedent(code))


def test_nothing_is_loaded_until_it_is_used(package: Path) -> None:
    write_user(
        package,
        """
        from typing import Optional
        import heavy
        import heavy.part as part
        from heavy import Base, double, table

        def typed(x: Base | None) -> Optional[Base]: ...
        eager = (Optional[Base], Base | None)
        """,
    )
    with deferred({"heavy"}):
        import user  # type: ignore[import-not-found]

        assert not hasattr(sys.modules["heavy"], "__file__")
    assert "heavy" not in sys.modules
    assert user.double(4) == 8
    assert user.table["a"] == 1
    assert user.part.answer.real == 42
    assert user.heavy.Base.kind == "real"
    import heavy  # type: ignore[import-not-found]

    assert isinstance(heavy.Base(), user.Base)
    assert not isinstance(1, user.Base)
    assert issubclass(heavy.Base, user.Base)


def test_use_inside_the_block_loads_too(package: Path) -> None:
    write_user(package, "from heavy import Base, double\nclass Mine(Base): ...\nn = double(4)\n")
    with deferred({"heavy"}):
        import user

        assert user.n == 8
        assert user.Mine.kind == "real"
        assert sys.modules["heavy"].Base in user.Mine.__mro__


def test_a_module_that_is_there_already_stays(package: Path) -> None:
    import heavy

    with deferred({"heavy"}):
        import heavy as again

        assert again is heavy


def test_absent_modules(package: Path) -> None:
    with deferred(set(), absent={"heavy"}), pytest.raises(ModuleNotFoundError):
        import heavy
    import heavy

    assert heavy.double(1) == 2


def test_absent_distributions(package: Path) -> None:
    (package / "heavy-1.5.dist-info").mkdir()
    (package / "heavy-1.5.dist-info/METADATA").write_text("Name: heavy\nVersion: 1.5\n")
    with deferred(set(), absent={"heavy"}):
        with pytest.raises(metadata.PackageNotFoundError, match="heavy"):
            metadata.version("heavy")
        assert metadata.version("numpy")
    assert metadata.version("heavy") == "1.5"


def run(code: str, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own."""
    start = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else "import sys\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )


@pytest.mark.nemo
def test_nemo_is_imported_quietly_without_what_serving_does_not_need() -> None:
    done = run(
        """
        import logging
        from serve_app.engines.nemo.imports import import_nemo
        import_nemo()
        heavy = "torch._dynamo pandas scipy.signal librosa lhotse datasets sklearn numba matplotlib"
        heavy = heavy.split()
        loaded = [name for name in heavy if name in sys.modules]
        assert not loaded, loaded
        # handlers of other people, pytest's among them, keep their level
        logging.getLogger("nemo_logger").addHandler(handler := logging.Handler())
        import_nemo()
        from pathlib import Path
        from serve_app.engines.nemo.archive import load_model, open_archive
        with open_archive(Path("tests/serve_app/engines/nemo/tones.nemo")) as archive:
            load_model(archive)
        assert handler.level == logging.NOTSET
        # what is deferred is there when somebody wants it
        from nemo.collections.asr.models import EncDecCTCModelBPE
        from nemo.collections.asr.parts.preprocessing import features
        assert features.librosa.filters.mel(sr=16000, n_fft=512, n_mels=8).shape == (8, 257)
        """
    )
    assert done.stdout == ""
    assert done.stderr == ""


@pytest.mark.nemo
@pytest.mark.slow
def test_where_the_quick_import_fails_half_way_all_is_imported() -> None:
    # Lightning imports its parts in an order that this upsets
    done = run(
        """
        from serve_app.engines.nemo import imports
        imports.DEFERRED |= {"lightning.pytorch.callbacks.pruning"}
        imports.import_nemo()
        import lightning.pytorch, pandas
        from nemo.collections.asr import models
        assert lightning.pytorch.Trainer.__module__.startswith("lightning.")
        assert models.EncDecCTCModelBPE.__mro__[1] is models.EncDecCTCModel
        assert pandas.__version__
        """
    )
    assert "the partial import of NeMo failed" in done.stderr


@pytest.mark.nemo
def test_where_the_quick_import_fails_all_is_imported(tmp_path: Path) -> None:
    # a NeMo of another version, which looks into a deferred module while it is imported
    for name in ("nemo", "nemo/utils", "nemo/collections", "nemo/collections/asr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "nemo/utils/__init__.py").write_text(
        "import types\nlogging = types.SimpleNamespace(ERROR=40, set_verbosity=lambda level: None)"
    )
    (tmp_path / "nemo/collections/asr/models.py").write_text(
        "import sklearn\nversion = sklearn.__version__\n"
    )
    (tmp_path / "sklearn.py").write_text("__version__ = '4.2'\n")
    done = run(
        """
        from serve_app.engines.nemo.imports import import_nemo
        import_nemo()
        from nemo.collections.asr import models
        print(models.version)
        """,
        path=tmp_path,
    )
    assert done.stdout.strip() == "4.2"
    assert "the partial import of NeMo failed" in done.stderr
