"""A data set prepared by the nodes of a Ray: they decode and tag, the driver writes in order.

What a node makes of a block depends on the block alone, so that the folder is that of `shapca data
prepare` to the byte. A bounded number of blocks is on the way at once, so that memory does not grow
with the pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import PIL
from PIL import features

from orchestrator.cluster.nodes import check_code
from orchestrator.cluster.resources import living_nodes, slots_of
from orchestrator.cluster.session import RayOptions, first_line, ray_session
from orchestrator.cluster.watch import NodesFailedError, watched
from orchestrator.config.resources import ResourceConfig
from shapca.data import pos
from shapca.data.decoding import Embedded, Pixels
from shapca.data.images import ImageSource, Progress
from shapca.data.preparation.image_writing import Square, load_or_reason
from shapca.errors import InputError

BLOCK_BYTES = 4 * 2**20
"""What a block of pictures takes on its way, there or back, unless one alone takes more."""
PICTURES = 32
"""The most pictures of a block."""
POSTS = 2 * 256
"""Posts of a block: whole batches of the tagger, so that it computes what it does alone."""
IN_FLIGHT = 2
"""Blocks on the way for each core: one at work, and one waiting so that no core does."""
LEAST_IN_FLIGHT = 16
"""Blocks on the way where there are few cores: a cluster that grows does so by what waits."""
STORE_SHARE = 0.5
"""How much of the object store beside the driver the blocks may take."""
RETRIES = 3
"""Further tries of a block whose node or process is lost."""


@dataclass(frozen=True)
class Done:
    """What a node made of a block.

    Attributes:
        node: Its address and short id.
        tools: Names and versions of what the results depend on.
        results: In the block's order.
    """

    node: str
    tools: str
    results: Sequence[Any]


def decode_block(size: int, pictures: Sequence[Path | bytes | Pixels]) -> Done:
    """Squares of side `size`, or the reasons for which there are none."""
    return Done(_this_node(), decoder(), [load_or_reason(picture, size) for picture in pictures])


def tag_block(posts: Sequence[Sequence[str]]) -> Done:
    """Parts of speech of posts, one a word.

    Raises:
        InputError: the tagger is not installed on this node.
    """
    try:
        return Done(_this_node(), pos.tagger_version(), pos.tag_words(posts))
    except InputError as error:
        raise InputError(f"{_this_node()}: {error}") from None


def decoder() -> str:
    """Pillow, and the libraries in it on which pixels depend."""
    libraries = (f"{name} {features.version(name)}" for name in ("libjpeg_turbo", "jpg", "webp"))
    return ", ".join((f"Pillow {PIL.__version__}", *libraries))


class Nodes:
    """The nodes of a Ray, which is joined or started when they first get work.

    To be entered; at its end Ray is as it was before.

    Args:
        ray: How to reach it.
    """

    def __init__(self, ray: RayOptions) -> None:
        self._ray = ray
        self._in_flight = 0
        self._until_the_end = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._until_the_end.__exit__(kind, error, trace)

    def decode(
        self, images: ImageSource, names: Sequence[str], size: int
    ) -> Generator[Square, None, None]:
        """The squares of pictures: a `shapca.data.preparation.image_writing.Decode`.

        Raises:
            InputError: Ray cannot be reached, a node does not see the pictures, or would decode
                them otherwise than the driver's.
            NodesFailedError: a block was lost again and again.
        """
        blocks = ((size, block) for block in _blocks((images[name] for name in names), size))
        done = self._in_order(decode_block, decoder(), blocks)
        for name, (node, square) in zip(names, done, strict=True):
            yield (
                _confirmed(node, square, images[name], size) if isinstance(square, str) else square
            )

    def tag(
        self, posts: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> list[tuple[str, ...]]:
        """Parts of speech of posts, as `shapca.data.pos.tag_words` finds them.

        Raises:
            InputError, NodesFailedError: as `decode` does.
        """
        distinct = list(dict.fromkeys(tuple(words) for words in posts))
        blocks = ((distinct[i : i + POSTS],) for i in range(0, len(distinct), POSTS))
        done = self._in_order(tag_block, pos.tagger_version(), blocks)
        tags: dict[tuple[str, ...], tuple[str, ...]] = {}
        for words, (_, found) in zip(distinct, done, strict=True):
            tags[words] = found
            if progress is not None:
                progress("parts of speech", len(tags), len(distinct))
        return [tags[tuple(words)] for words in posts]

    def _in_order(
        self, work: Callable[..., Done], tools: str, blocks: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[str, Any]]:
        """Each result of each block, in order, with the node that it comes from."""
        task: Any = None
        begun: deque[Any] = deque()
        for arguments in blocks:
            task = task or self._task(work)
            begun.append(task.remote(*arguments))
            if len(begun) > self._in_flight:
                yield from _results(begun.popleft(), tools)
        while begun:
            yield from _results(begun.popleft(), tools)

    def _task(self, work: Callable[..., Done]) -> Any:
        if not self._in_flight:
            self._join()
        import ray

        return ray.remote(num_cpus=1, max_retries=RETRIES)(work)

    def _join(self) -> None:
        self._until_the_end.enter_context(ray_session(self._ray))
        self._until_the_end.enter_context(watched(is_local=self._ray.cluster is None))
        import ray

        check_code()
        nodes = {node["NodeID"]: node["Resources"] for node in living_nodes()}
        cores = slots_of(list(nodes.values()), ResourceConfig(cpu=1))
        if not cores and not self._ray.wait_for_resources:
            raise InputError(
                "no node of the cluster has a CPU for tasks; pass --wait-for-resources if nodes "
                "are still to come"
            )
        store = nodes[ray.get_runtime_context().get_node_id()]["object_store_memory"]
        fits = max(1, int(STORE_SHARE * store / BLOCK_BYTES))
        self._in_flight = min(max(IN_FLIGHT * cores, LEAST_IN_FLIGHT), fits)


def _blocks(
    pictures: Iterable[Path | Embedded | Pixels], size: int
) -> Iterator[list[Path | bytes | Pixels]]:
    """Pictures in blocks; what another file holds is sent along, files are read on the nodes."""
    block: list[Path | bytes | Pixels] = []
    filled = 0
    for picture in pictures:
        sent = picture.size if isinstance(picture, Embedded) else 0
        takes = max(3 * size * size, sent, BLOCK_BYTES // PICTURES)
        if block and filled + takes > BLOCK_BYTES:
            yield block
            block, filled = [], 0
        block.append(_sent(picture))
        filled += takes
    if block:
        yield block


def _sent(picture: Path | Embedded | Pixels) -> Path | bytes | Pixels:
    if isinstance(picture, Embedded):
        return picture.read()
    return picture.absolute() if isinstance(picture, Path) else picture


def _results(reference: Any, tools: str) -> Iterator[tuple[str, Any]]:
    import ray

    try:
        done: Done = ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from None
        raise NodesFailedError(
            f"nodes could not do their part ({first_line(cause or error)})"
        ) from None
    if done.tools != tools:
        raise InputError(
            f"{done.node}: has {done.tools}, but the driver's node {tools}: its results might be "
            "others. Install the same versions there"
        )
    for result in done.results:
        yield done.node, result


def _confirmed(node: str, reason: str, picture: Path | Embedded | Pixels, size: int) -> str:
    """Why a picture cannot be read, as the driver's own node says it.

    Raises:
        InputError: it can be read here.
    """
    square = load_or_reason(picture, size)
    if not isinstance(square, str):
        raise InputError(
            f"{node} cannot read {picture} ({reason}), which the driver's node can: every node "
            "must see the folder of the pictures at the same path"
        )
    return square


def _this_node() -> str:
    import ray

    node = ray.get_runtime_context().get_node_id()
    return f"{ray.util.get_node_ip_address()} (node {node[:6]})"
