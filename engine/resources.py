"""Where the files that belong to the program lie: beside the source tree, or inside the installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def migrations_path() -> Path:
    """Answer the folder of the alembic migrations."""
    return _find("migrations", "_migrations")


def manifests_path() -> Path:
    """Answer the folder of the Kubernetes manifests: CRDs, samples and the controller's own."""
    return _find("kubernetes", "_manifests")


def _find(in_checkout: str, in_wheel: str) -> Path:
    installed = _PACKAGE / in_wheel
    return installed if installed.is_dir() else _PACKAGE.parent / in_checkout
