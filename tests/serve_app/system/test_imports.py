from __future__ import annotations

import gc

from serve_app.system.imports import quick_imports


def test_collections_go_on_afterwards_as_before() -> None:
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
