"""Where this user's cache is; all that the demo makes lies there."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """``$XDG_CACHE_HOME``, or what the platform uses. Not made by this."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    home = Path.home()
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
