"""PyTorch DistributedDataParallel on this machine: Gloo over loopback, one thread a process, data in memory.

ddp.py MODEL BATCH RANKS SECONDS prints samples a second over all ranks, as JSON. DDP's settings are its defaults but for
gradient_as_bucket_view=True, which is the faster one.
"""
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models import MODELS

WARM_UP = 20


def train(rank, ranks, port, name, batch, seconds, out):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    build, shape, rows, optimizer_of = MODELS[name]
    model = build()
    if ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo", USE_LIBUV="0")
        dist.init_process_group("gloo", rank=rank, world_size=ranks)
        model = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = optimizer_of(model.parameters())
    loss_of = nn.CrossEntropyLoss()
    torch.manual_seed(rank)
    data = [rows(batch, *shape) for _ in range(8)]

    def step(i):
        x, y = data[i % len(data)]
        optimizer.zero_grad(set_to_none=ranks == 1)
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()

    for i in range(WARM_UP):
        step(i)
    begin = time.perf_counter()
    steps, done = 0, False
    while not done:  # all ranks stop at the same step: rank 0 looks at the clock every 10 steps
        for i in range(10):
            step(i)
        steps += 10
        late = torch.tensor([float(time.perf_counter() - begin >= seconds)])
        if ranks > 1:
            dist.broadcast(late, 0)
        done = bool(late.item())
    if rank == 0:
        out.put(ranks * batch * steps / (time.perf_counter() - begin))


if __name__ == "__main__":
    name, batch, ranks, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = mp.get_context("fork").SimpleQueue()
    processes = mp.start_processes(
        train, args=(ranks, port, name, batch, seconds, out), nprocs=ranks, join=False, start_method="fork")
    processes.join()
    print(json.dumps({"samples_per_second": out.get(), "torch": torch.__version__}))
