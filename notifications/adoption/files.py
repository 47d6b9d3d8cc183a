"""What django-notifications has left in the directory of this package.

Both distributions install a package ``notifications``. Whichever comes second overwrites files of
the first; uninstalling one removes files of the other.
"""

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from .traces import OLD_MIGRATIONS

#: The name of their distribution, and of ours.
THEIRS, OURS = "django-notifications-hq", "pushsite"

#: What to do about it: uninstalling theirs removes files that ours has too.
WAY_OUT = (
    "Run: pip uninstall django-notifications-hq, delete what is left of the directory "
    "“notifications”, and then: pip install --force-reinstall --no-deps pushsite."
)

PACKAGE = Path(__file__).resolve().parent.parent

#: Files that only they have, besides their migrations.
OLD_FILES = (
    "admin.py",
    "base/__init__.py",
    "base/admin.py",
    "base/models.py",
    "helpers.py",
    "settings.py",
    "utils.py",
    "views.py",
)


def is_installed() -> bool:
    """Is their distribution installed, wherever its files are?"""
    return _distribution(THEIRS) is not None


def foreign_files(package: Path = PACKAGE) -> list[str]:
    """Paths of their files in the directory of this package, and of migrations that are not ours.

    Args:
        package: the directory.
    """
    return sorted({*_old_files(package), *_foreign_migrations(package)})


def _old_files(package: Path) -> Iterator[str]:
    migrations = (f"migrations/{name}.py" for name in sorted(OLD_MIGRATIONS))
    return (name for name in (*OLD_FILES, *migrations) if (package / name).is_file())


def _foreign_migrations(package: Path) -> Iterator[str]:
    """Those that an installer has not brought with us.

    ``makemigrations`` of a host may have put one beside theirs, and uninstalling leaves it there.
    """
    ours = _distribution(OURS)
    installed = {str(file) for file in (ours.files if ours is not None else None) or ()}
    if f"{package.name}/migrations/__init__.py" not in installed:
        return  # run from its sources
    for path in (package / "migrations").glob("*.py"):
        if f"{package.name}/migrations/{path.name}" not in installed:
            yield f"migrations/{path.name}"


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
