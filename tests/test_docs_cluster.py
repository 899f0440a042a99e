"""What `docs/cluster.md` tells operators to set is what Chorus sets itself."""

from __future__ import annotations

import re

from deploy.local import ROOT
from serve_app.system.ray_environment import ENVIRONMENT


def test_the_environment_of_the_nodes() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert dict(re.findall(r"^export (\w+)=(\S+)$", page, re.MULTILINE)) == ENVIRONMENT
