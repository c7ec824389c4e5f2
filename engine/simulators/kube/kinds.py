"""The kinds that the API server knows: the built-in ones, and one for every version that a definition serves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.simulators.kube.structure import Structure

Json = dict[str, Any]
Shelf = tuple[str, str]  # group and plural under which objects are kept, whatever version is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where the scale subresource finds its numbers in an object."""

    wanted: str
    observed: str
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One kind in one version; `shelf` is shared by all versions of it. Two kinds are the same only in person."""

    group: str
    version: str
    name: str
    plural: str
    shelf: Shelf
    namespaced: bool = True
    singular: str = ""
    list_name: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    scale: ScalePaths | None = None
    actions: tuple[str, ...] = ()  # subresources that are orders, such as eviction
    counts_generation: bool = False
    overwritable: bool = True  # a PUT without resourceVersion is taken
    answers_deleted: bool = False  # DELETE answers the object and not a Status
    custom: bool = False
    kept_nowhere: bool = False  # a question that is answered and forgotten
    structure: Structure | None = None
    columns: Sequence[Mapping[str, Any]] = ()
    fields: tuple[str, ...] = ()  # what field selectors may ask, beside name and namespace
    outward: Callable[[Json], Json] | None = None
    inward: Callable[[Json], Json] | None = None

    @property
    def api_version(self) -> str:
        """Group and version as objects carry them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Plural and group as messages name them."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def shown(self, value: Json) -> Json:
        """Answer the kept object in the form of this version."""
        return self.outward(value) if self.outward else value

    def kept(self, value: Json) -> Json:
        """Answer the object of this version in the form that is kept."""
        return self.inward(value) if self.inward else value


class Registry:
    """All kinds by group, version and plural; not thread-safe by itself, the simulator's lock guards it."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = {(kind.group, kind.version, kind.plural): kind for kind in kinds}
        self._number = 0

    @property
    def number(self) -> int:
        """Grows with every change, so that derived documents can be kept until then."""
        return self._number

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Answer the kind of a path, or None."""
        return self._kinds.get((group, version, plural))

    def named(self, api_version: str, name: str) -> Kind | None:
        """Answer the kind of an object, or None."""
        return next((k for k in self._kinds.values() if k.name == name and k.api_version == api_version), None)

    def on(self, shelf: Shelf) -> Kind | None:
        """Answer one kind whose objects lie on the shelf, or None."""
        return next((kind for kind in self._kinds.values() if kind.shelf == shelf), None)

    def of_group(self, group: str, version: str | None = None) -> list[Kind]:
        """Answer the kinds of a group, in one version or in all."""
        return [k for k in self._kinds.values() if k.group == group and version in {None, k.version}]

    def versions(self) -> dict[str, list[str]]:
        """Answer all groups with their versions, in the order in which they came."""
        groups: dict[str, list[str]] = {}
        for kind in self._kinds.values():
            versions = groups.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return groups

    def replace(self, shelf: Shelf, kinds: Sequence[Kind]) -> None:
        """Put these kinds in the place of all that lie on the shelf."""
        kept = {key: kind for key, kind in self._kinds.items() if kind.shelf != shelf}
        self._kinds = kept | {(kind.group, kind.version, kind.plural): kind for kind in kinds}
        self._number += 1

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())
