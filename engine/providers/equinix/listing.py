"""The whole list of devices out of its pages, while devices come and go.

Pages are cut by number: a device that goes away moves the rows behind it to the front, perhaps over the edge of a page
that was read already, where nobody would look again. The totals of the pages tell how far rows may have moved, so it is
known up to which position the list is certainly seen, and reading goes on from there. It does no I/O of its own.
"""

from collections.abc import Callable, Sequence

from engine.domain.device import Device
from engine.domain.ids import DeviceId
from engine.errors import EngineError
from engine.providers.equinix.wire import Page


class InconsistentListError(EngineError):
    """The pages contradict each other or never end; the adapter makes an error of the port of it."""


def read_all(read: Callable[[int], Page], *, page_size: int, pages_max: int) -> Sequence[Device]:
    """Answer every device that was in the list all the time, each once; `read` answers a page by its number from 1.

    New devices may stand at the front and be missed. Raises InconsistentListError when the pages contradict themselves,
    or when `pages_max` were read and something may still be unseen.
    """
    found: dict[DeviceId, Device] = {}
    size, seen, total = page_size, 0, 0
    for reads in range(pages_max):
        number = seen // size + 1
        page = read(number)
        if reads == 0 and page.more:
            size = max(1, len(page.devices))  # the API may give less than it was asked for
        _check(page, number=number, size=size)
        found.update((device.device_id, device) for device in page.devices)
        # What is now at a position was there or up to this many positions behind it when the last page was read.
        seen = max(0, seen - max(0, total - page.total))
        total = page.total
        start = (number - 1) * size
        if start <= seen:
            seen = max(seen, start + len(page.devices))
        if seen >= total:
            return list(found.values())
    raise InconsistentListError(f"after {pages_max} pages the list has no end")


def _check(page: Page, *, number: int, size: int) -> None:
    if page.number != number:
        raise InconsistentListError(f"page {number} was asked for and came as page {page.number}")
    if page.more != (number * size < page.total):
        raise InconsistentListError(f"page {number} contradicts its own total of {page.total}")
    if len(page.devices) < min(size, page.total - (number - 1) * size):
        raise InconsistentListError(f"page {number} lacks rows: it has {len(page.devices)} of {page.total} in all")
