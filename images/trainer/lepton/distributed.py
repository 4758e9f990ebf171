"""The group of processes that train together: sums, averages, and who is who.

One process a GPU, or a pod without GPUs; torchrun's environment variables say which it is.
"""

import itertools
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from lepton.errors import InputError, PeerLostError, TrainingError
from lepton.heartbeat import Heartbeat

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

RENDEZVOUS_TIMEOUT = timedelta(minutes=30)
"""Pods of a job may wait for each other's images and volumes."""
NAME_TIMEOUT = 600.0
"""Seconds until the first worker's DNS name must resolve; it does once its pod is ready."""


class WorkerGroup:
    """This process among its peers. With one process everything is a no-op."""

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        device: str = "cpu",
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.device = torch.device(device)
        self._heartbeat = heartbeat

    @property
    def is_first(self) -> bool:
        """Whether this process reports, evaluates and writes files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up the tensor over all processes, in place. One round trip."""
        if self.size > 1:
            with self._peers():
                dist.all_reduce(tensor)
        return tensor

    def share(self, tensor: Tensor) -> Tensor:
        """Overwrite the tensor with the first process's, in place."""
        if self.size > 1:
            with self._peers():
                dist.broadcast(tensor, src=0)
        return tensor

    def share_bytes(self, data: bytes | None) -> bytes:
        """The first process's bytes, in every process."""
        if self.size == 1:
            assert data is not None
            return data
        length = self.share(torch.tensor([len(data or b"")], device=self.device))
        if not int(length):
            return b""
        buffer = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        if data:
            buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return self.share(buffer).cpu().numpy().tobytes()

    def collect_bytes(self, data: bytes) -> list[bytes]:
        """Every process's bytes in order of rank, in every process."""
        if self.size == 1:
            return [data]
        lengths = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        lengths[self.rank] = len(data)
        self.sum(lengths)
        # A sum of disjoint rows works with every backend, whatever the lengths.
        rows = torch.zeros(self.size, int(lengths.max()), dtype=torch.uint8, device=self.device)
        rows[self.rank, : len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self.sum(rows)
        return [
            row[:length].cpu().numpy().tobytes()
            for row, length in zip(rows, lengths.tolist(), strict=True)
        ]

    @contextmanager
    def _peers(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, dist.DistError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason"
            raise PeerLostError(f"another worker process ended or is unreachable: {reason}") from (
                error
            )

    def close(self, *, failed: bool = False) -> None:
        """Leave the group. Others end soon after, if this process `failed`."""
        global _joined
        _joined = None
        if self._heartbeat is not None:
            self._heartbeat.stop(failed=failed)
            self._heartbeat = None
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


_groups = itertools.count()
"""Numbers the groups that this process and its peers make one after another."""
_joined: WorkerGroup | None = None
"""The group that `join_group` made, until it is closed."""


def join_group(named: str | None = None) -> WorkerGroup:
    """Join the group that the environment describes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    Its device is the one that is `named`, of which "cuda" means this process's own GPU; without a
    name that GPU, or the CPU where there is none or not one for each process of this host. Uses the
    group that the program has made already, if any. Without WORLD_SIZE above 1 the process is
    alone. Raises TrainingError when the first worker can't be found, InputError when a group can't
    work on the named device, or on a GPU that is another's too. Afterwards this process ends when
    another falls silent, unless the program made the group: then its timeouts hold.
    """
    global _joined
    device = _device(named)
    if dist.is_available() and dist.is_initialized():
        if named is not None:
            _refuse_other_backend(device)
        return _joined or WorkerGroup(dist.get_rank(), dist.get_world_size(), device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size <= 1:
        return WorkerGroup(device=device)
    rank = int(os.environ["RANK"])
    if rank != 0:
        _wait_for_name(os.environ["MASTER_ADDR"])
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(torch.device(device))
    heartbeat = None
    try:
        store = _rendezvous(rank, size)
        if on_gpu:
            gpu = torch.cuda.get_device_properties(device)
            _refuse_shared_gpus(store, rank, size, str(gpu.uuid))
        heartbeat = Heartbeat(store.clone(), rank, size)
        dist.init_process_group(
            backend="nccl" if on_gpu else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=RENDEZVOUS_TIMEOUT,
        )
    except (RuntimeError, dist.DistError) as error:
        if heartbeat is not None:
            heartbeat.stop(failed=True)
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise PeerLostError(f"no rendezvous of {size} processes at {address}: {reason}") from error
    _joined = WorkerGroup(rank, size, device, heartbeat)
    return _joined


def _rendezvous(rank: int, size: int) -> "Store":
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    served, _, _ = next(rendezvous("env://", rank, size, timeout=RENDEZVOUS_TIMEOUT))
    # torchrun's store outlives a group, whose addresses the next one must not take for its own.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"lepton-{attempt}-{next(_groups)}", served)
    store.set_timeout(RENDEZVOUS_TIMEOUT)
    return store


def _device(named: str | None) -> str:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    too_few = 0 < gpus < processes
    own, local = "cpu", int(os.environ.get("LOCAL_RANK", "0"))
    if gpus and not too_few:
        own = f"cuda:{local % gpus}"
    if too_few and named is None and local == 0:
        print(f"{processes} processes, but GPUs: {gpus}; training on the CPU", file=sys.stderr)
    if named is None or named == own or (named == "cuda" and not too_few):
        return own
    if named.startswith("cuda") and processes > 1:
        raise InputError(
            f"{processes} processes of this host can't share {named}: name "
            + ("no device" if too_few else "cuda, which is the GPU that is each one's own")
        )
    return named


def _refuse_shared_gpus(store: "Store", rank: int, size: int, gpu: str) -> None:
    """Raises InputError, in every process, when some were given one GPU, as where a node's GPUs are
    shared in turns: NCCL can't work there, and would not say so."""
    store.set(f"gpu-{rank}", gpu)
    gpus = [store.get(f"gpu-{other}").decode() for other in range(size)]
    shared = [str(other) for other in range(size) if gpus.count(gpus[other]) > 1]
    if shared:
        raise InputError(
            f"processes {', '.join(shared)} share GPUs: give each one of its own, or train on the "
            "CPU"
        )


def _refuse_other_backend(device: str) -> None:
    """Raises InputError when the group that there is can't exchange what is on the device."""
    backends, kind = dist.get_backend_config(), torch.device(device).type
    if f"{kind}:" not in backends:
        raise InputError(
            f"the environment's device is {device}, which the program's process group ({backends}) "
            "can't work on: make the group with another backend, or name no device"
        )


def _wait_for_name(name: str) -> None:
    begin = time.monotonic()
    announced = begin
    while True:
        try:
            socket.getaddrinfo(name, None)
            return
        except OSError as error:
            now = time.monotonic()
            if now - begin > NAME_TIMEOUT:
                raise TrainingError(
                    f"the first worker's name {name} does not resolve after "
                    f"{NAME_TIMEOUT:.0f} s: {error}"
                ) from None
            if now - announced >= 10:
                announced = now
                waited = f"{now - begin:.0f} s"
                print(f"waiting for {name} to resolve ({waited}): {error}", file=sys.stderr)
        time.sleep(0.5)
