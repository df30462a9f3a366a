"""Object stores for tests: in memory, counting requests, dying at a chosen write."""

from __future__ import annotations

from shapca.storage import ObjectStore


class MemoryStore:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_new(self, name: str, content: bytes) -> bool:
        if name in self.objects:
            return False
        self.objects[name] = content
        return True

    def put(self, name: str, content: bytes) -> None:
        self.objects[name] = content

    def get(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def folders(self, folder: str) -> list[str]:
        parts = [name.removeprefix(folder).split("/") for name in self.list(folder)]
        return sorted({part[0] for part in parts if len(part) > 1})

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        return sorted(name for name in self.objects if name.startswith(prefix) and name > after)

    def delete(self, *names: str) -> None:
        for name in names:
            self.objects.pop(name, None)


class CountingStore(MemoryStore):
    """A store in memory that notes what it is asked, as a bucket would get a request each.

    Attributes:
        requests: What was done, and to which objects, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, ...]] = []

    def put_new(self, name: str, content: bytes) -> bool:
        self.requests.append(("put_new", name))
        return super().put_new(name, content)

    def put(self, name: str, content: bytes) -> None:
        self.requests.append(("put", name))
        super().put(name, content)

    def get(self, name: str) -> bytes | None:
        self.requests.append(("get", name))
        return super().get(name)

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        self.requests.append(("list", prefix))
        return super().list(prefix, after)

    def delete(self, *names: str) -> None:
        self.requests.append(("delete", *names))
        super().delete(*names)


class Killed(BaseException):
    """Stands for a SIGKILL: no `except Exception` may hold it up."""


class DyingStore:
    """Another store whose n-th change (write or deletion) never happens: the process is killed.

    Args:
        parent: Where changes go until then.
        dies_at: Number of the fatal change, from 1; none: never.
    """

    def __init__(self, parent: ObjectStore, dies_at: int | None = None) -> None:
        self.parent = parent
        self.dies_at = dies_at
        self.num_changes = 0

    def _change(self) -> None:
        self.num_changes += 1
        if self.num_changes == self.dies_at:
            raise Killed(f"change {self.num_changes}")

    def put_new(self, name: str, content: bytes) -> bool:
        self._change()
        return self.parent.put_new(name, content)

    def put(self, name: str, content: bytes) -> None:
        self._change()
        self.parent.put(name, content)

    def get(self, name: str) -> bytes | None:
        return self.parent.get(name)

    def folders(self, folder: str) -> list[str]:
        return self.parent.folders(folder)

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        return self.parent.list(prefix, after)

    def delete(self, *names: str) -> None:
        self._change()
        self.parent.delete(*names)
