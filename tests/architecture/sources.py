"""The files of the project, as the tidiness rules see them."""

import ast
import subprocess
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = {".png", ".gz", ".db", ".ico", ".woff2"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Python file; `path` is relative to the top of the checkout."""

    path: str
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, filename=self.path)

    def within(self, *folders: str) -> bool:
        """Whether the file lies in one of these folders, or is one of these files."""
        return any(self.path == each or self.path.startswith(f"{each}/") for each in folders)


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that git tracks or would track, relative to the top; without git, every file that is not hidden."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    told = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode == 0:
        names = [Path(name) for name in told.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if "__pycache__" not in path.parts]
        names = [path for path in names if not path.parts[0].startswith(".")]
    return tuple(sorted(path for path in names if (ROOT / path).is_file()))


@cache
def python_files() -> tuple[Source, ...]:
    """Every Python file of the program, its migrations and its tests."""
    chosen = [path for path in tracked_files() if path.suffix == ".py"]
    return tuple(Source(path=path.as_posix(), text=(ROOT / path).read_text("utf-8")) for path in chosen)


@cache
def text_files() -> tuple[tuple[str, str], ...]:
    """Path and text of every tracked file that holds text."""
    chosen = [path for path in tracked_files() if path.suffix not in BINARY]
    return tuple((path.as_posix(), (ROOT / path).read_text("utf-8", "replace")) for path in chosen)
