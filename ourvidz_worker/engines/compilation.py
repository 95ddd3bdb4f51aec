"""A model's repeated blocks, compiled for the shapes that jobs come in, while nobody waits for it.

Compiling takes seconds per shape and makes every other thread of Python slow. So the first job of a shape is drawn
eagerly; once its result has been handed over, a thread compiles what it was made of, and gives way to the next job as
soon as a kernel is done. Nothing is compiled while a job is drawn: what fits no compiled code runs eagerly.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
import torch
from torch import nn
from torch.utils import _pytree as pytree

from ourvidz_worker.engines.devices import raise_if_poisoned
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.volume.tiers import Compile
from ourvidz_worker.errors import OutOfMemory

T = TypeVar("T")

MOST_SHAPES = 12  # one, three and six pictures, in four sizes
LONGEST_REASON = 200  # letters
MOST_VARIANTS = 128  # of one block's code: those shapes, in the sizes of layers that a UNet has, with and without CFG


@dataclass(frozen=True, slots=True)
class _Like:
    """A tensor that was seen, without what was in it."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Like:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)

    def empty(self) -> torch.Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device).zero_()


@dataclass(slots=True)
class _Kernel:
    """Blocks that were called alike, so that one piece of code serves all; `call` is (args, kwargs) of `_Like`."""

    call: Any
    blocks: list[nn.Module] = field(default_factory=list)


class CompiledBlocks:
    """How the blocks of one model run. `auto` compiles on CUDA, `on` everywhere.

    A model runs inside `run` only, and one at a time. Whatever goes wrong with the compiler, or with what it made,
    is logged once, and from then on the model runs eagerly. `holding` keeps the model on its device while it is
    compiled.
    """

    def __init__(
        self,
        model: Any,
        mode: Compile,
        device: torch.device,
        *,
        holding: Callable[[], AbstractContextManager[object]] = nullcontext,
        backend: str = "inductor",
    ) -> None:
        self._model = model
        self._device = device
        self._holding = holding
        self._backend = backend
        self._wanted = mode == "on" or (mode == "auto" and device.type == "cuda")
        self._code: dict[nn.Module, Callable[..., Any]] = {}
        self._pending: dict[Hashable, list[_Kernel]] = {}
        self._ready: set[Hashable] = set()
        self._given_up: str | None = None
        self._outcome: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self._give_way = threading.Event()

    @property
    def details(self) -> dict[str, Any]:
        """What the result metadata says of the last run; nothing where nothing is to be compiled."""
        return dict(self._outcome)

    def run(self, shape: Hashable | None, work: Callable[[], T]) -> T:
        """What `work` gives, by compiled blocks if there are some for this shape.

        `shape` tells apart what the blocks are called with; None is for what comes in too many shapes. An error in
        compiled code means that `work` is done once more, eagerly.
        """
        self.pause()
        if not self._wanted or self._given_up is not None:
            return self._eagerly(work)
        if shape in self._ready:
            return self._compiled(work)
        if shape is None:
            return self._eagerly(work, "not compiled for adapters or for this number of pictures")
        if shape in self._pending:
            return self._eagerly(work, "still being compiled")
        if len(self._ready) + len(self._pending) >= MOST_SHAPES:
            return self._eagerly(work, f"{MOST_SHAPES} other shapes are compiled")
        return self._watched(shape, work)

    def compile_later(self) -> None:
        """Compile what was seen, now that the result is handed over; returns at once."""
        if not self._pending or self._given_up is not None or self._thread is not None:
            return
        self._give_way.clear()
        self._thread = threading.Thread(target=self._compile_pending, name="compilation", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until everything that was seen is compiled."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def pause(self) -> None:
        """A job begins: let the thread finish the kernel at hand, and no other."""
        self._give_way.set()
        self.finish()

    def _eagerly(self, work: Callable[[], T], reason: str | None = None) -> T:
        reason = self._given_up or reason
        self._outcome = {"compile": "eager", "compile_reason": reason} if self._wanted and reason else {}
        return work()

    def _compiled(self, work: Callable[[], T]) -> T:
        self._outcome = {"compile": "compiled"}
        try:
            with self._installed(), torch.compiler.set_stance("eager_on_recompile"):
                return work()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - it may be the compiled code that is wrong
            raise_if_poisoned(error)
            self._give_up("run", error)
        return self._eagerly(work)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        try:
            for block, code in self._code.items():
                block._compiled_call_impl = code  # noqa: SLF001 - torch's own place for it
            yield
        finally:
            for block in self._code:
                block._compiled_call_impl = None  # noqa: SLF001

    def _watched(self, shape: Hashable, work: Callable[[], T]) -> T:
        """Note how each block is called."""
        kernels: dict[str, _Kernel] = {}

        def called(block: nn.Module, args: Any, kwargs: Any) -> None:
            call = pytree.tree_map_only(torch.Tensor, _Like.of, (args, kwargs))
            kernel = kernels.setdefault(repr(call), _Kernel(call))
            if block not in kernel.blocks:
                kernel.blocks.append(block)

        with ExitStack() as hooks:
            for block in self._blocks():
                handle = block.register_forward_pre_hook(called, with_kwargs=True)
                hooks.callback(handle.remove)
            result = self._eagerly(work, "the first of its shape")
        self._pending[shape] = list(kernels.values())
        return result

    def _blocks(self) -> Iterator[nn.Module]:
        names = self._model._repeated_blocks or ()  # noqa: SLF001 - `compile_repeated_blocks` reads it, too
        return (module for module in self._model.modules() if type(module).__name__ in names)

    @torch.no_grad()
    def _compile_pending(self) -> None:
        """One kernel at least, so that there is an end to it even if jobs never cease to come."""
        try:
            with self._holding():
                self._wrap_blocks()
                while self._pending:
                    with TURNS.computing():
                        self._compile_next()
                    if self._give_way.is_set():
                        return
        except (torch.OutOfMemoryError, OutOfMemory):
            self._pending.clear()  # to be seen again by the next job of its shape
        except Exception as error:  # noqa: BLE001 - a compiler may raise whatever it likes; the model runs without it
            self._give_up("compile", error)

    def _compile_next(self) -> None:
        shape, kernels = next(iter(self._pending.items()))
        if kernels:
            self._compile(kernels[-1])
            kernels.pop()
        if not kernels:
            self._ready.add(shape)
            del self._pending[shape]
            structlog.get_logger().info("blocks_compiled", model=type(self._model).__name__, shape=repr(shape))

    def _wrap_blocks(self) -> None:
        if self._code:
            return
        self._model.compile_repeated_blocks(dynamic=False, backend=self._backend, recompile_limit=MOST_VARIANTS)
        for block in self._blocks():
            code = block._compiled_call_impl  # noqa: SLF001
            assert code is not None
            self._code[block] = code
            block._compiled_call_impl = None  # noqa: SLF001

    def _compile(self, kernel: _Kernel) -> None:
        """The first block is compiled, and the others show that its code serves them."""
        args, kwargs = pytree.tree_map_only(_Like, _Like.empty, kernel.call)
        for block in kernel.blocks:
            self._code[block](*args, **kwargs)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # an error belongs here, and not to the next job

    def _give_up(self, stage: str, error: Exception) -> None:
        message = " ".join(str(error).split())  # a compiler's tells what is wrong in its second line
        self._given_up = f"{stage}: {type(error).__name__}: {message[:LONGEST_REASON]}"
        self._pending.clear()
        self._ready.clear()
        structlog.get_logger().warning("compilation_given_up", model=type(self._model).__name__, reason=self._given_up)
