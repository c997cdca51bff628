"""The packages of the extra `serve`."""

from __future__ import annotations

from importlib.util import find_spec

from onelook.errors import SettingsError

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def require_packages(what: str) -> None:
    """Raise SettingsError if a package that the command `what` needs is missing."""
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"`{what}` needs {' and '.join(f'`{name}`' for name in missing)}", hint='pip install "onelook[serve]"'
        )
