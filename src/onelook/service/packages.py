"""The packages of the extra `serve`, which only what answers over HTTP needs."""

from __future__ import annotations

from importlib.util import find_spec

from onelook.errors import SettingsError

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def require_packages(what: str) -> None:
    """Refuse `what`, which needs them, if one is missing.

    Raises:
        SettingsError: one is.
    """
    missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"`{what}` needs {' and '.join(f'`{name}`' for name in missing)}", hint='pip install "onelook[serve]"'
        )
