"""Loss curves of plain PyTorch that Tandem's trainer has to repeat.

    /usr/bin/python3 bench/peers/parity.py            with Debian's python3-torch 1.13.1 (apt-get install python3-torch)

writes worker/model/testdata/parity.json (settings, the loss of each step, and at the end that of the last batch in evaluation
mode) and parity-own.pt (a user's own model, scripted) anew. The models
are nn.Modules in eager mode and the optimizers torch.optim's; nothing of Tandem is used. Initial weights and data come from the
integer formula of numbers(), which the Go test computes as well, so that the file holds the losses alone.

It prints how far each curve is from the same training in float64: what rounding alone does to it. A case whose rounding comes
near the bound of 1e-5 would test the processor, not the arithmetic, and has to be chosen milder. ResNet-18 is so deep that in
float32 every case does, however mild: PyTorch itself differs from PyTorch by 8e-5 to 2e-2. It is trained in float64 on both
sides, and what is printed for it is what the last bit of each initial weight does.
"""
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from models import ResNet8

STEPS, BATCHES = 100, 4  # the data is BATCHES batches, taken in turn
TESTDATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../worker/model/testdata")


def numbers(key, *shape):
    """Numbers in [-1, 1), multiples of 2^-23: the i-th is the upper 24 bits of SplitMix64(key * 2^32 + i)."""
    z = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(key << 32)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return torch.from_numpy((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).float().reshape(shape)


def whole(key, choices, *shape):
    """Whole numbers from 0 to below choices."""
    return ((numbers(key, *shape).double() + 1) * choices / 2).floor().long()


def fill(model):
    """The n-th parameter in the order of names has the numbers of key n: matrices and kernels times 1.5 / sqrt(inputs),
    embeddings and biases times 0.1, the weights of normalisations times 0.1 and plus 1."""
    with torch.no_grad():
        for n, (name, p) in enumerate(sorted(model.named_parameters())):
            u = numbers(n, *p.shape)
            if p.dim() > 1 and not name.startswith(("wte.", "wpe.")):
                p.copy_(u * np.float32(1.5 / math.sqrt(p[0].numel())).item())
            else:
                p.copy_(u * 0.1 + (1 if p.dim() == 1 and name.endswith("weight") else 0))
    return model


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(8, 8), nn.GELU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.GroupNorm(8, 16), nn.GELU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Linear(16 * 3 * 3, 32), nn.GELU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (y.view(n, t, self.heads, c // self.heads).transpose(1, 2) for y in self.c_attn(x).split(c, 2))
        scores = q @ k.transpose(-2, -1) / math.sqrt(c // self.heads)
        scores = scores.masked_fill(torch.ones(t, t).tril() == 0, float("-inf"))
        return self.c_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """nanoGPT's, with an untied head."""

    def __init__(self, layers=2, width=32, heads=4, context=16):
        super().__init__()
        self.wte = nn.Embedding(256, width)
        self.wpe = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([GptBlock(width, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, 256, bias=False)

    def forward(self, x):
        x = self.wte(x.long()) + self.wpe(torch.arange(x.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x)).transpose(1, 2)


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """torchvision's, with the stem for small images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        before = 64
        for n, (width, stride) in enumerate([(64, 1), (128, 2), (256, 2), (512, 2)], 1):
            setattr(self, f"layer{n}", nn.Sequential(Residual(before, width, stride), Residual(width, width, 1)))
            before = width
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for n in range(1, 5):
            x = getattr(self, f"layer{n}")(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Own(nn.Module):
    """What a user may bring: a recurrent cell in a loop, for two numbers of a series."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 24)
        self.out = nn.Linear(24, 2)

    def forward(self, x):
        h = torch.zeros(x.size(0), 24, dtype=x.dtype)
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
        return self.out(h)


# Batch b of data d has the keys 1000 d + b for its inputs and 500 more for its labels.
def noise(rows, *shape):
    return lambda key: (numbers(key, rows, *shape), whole(key + 500, 10, rows))


def squares(rows, channels, side):
    """4x4 squares of one colour each: noise would average out on its way through a deep network. (For max pooling they would
    be a lottery, as equal neighbours make equal outputs, of which rounding chooses one.)"""
    def batch(key):
        small = numbers(key, rows, channels, 4, 4)
        return small.repeat_interleave(side // 4, 2).repeat_interleave(side // 4, 3), whole(key + 500, 10, rows)
    return batch


def text(rows, context):
    def batch(key):
        letters = 97 + whole(key, 16, rows, context + 1)
        return letters[:, :-1].float(), letters[:, 1:].contiguous()
    return batch


def series(rows, *shape):
    return lambda key: (numbers(key, rows, *shape), numbers(key + 500, rows, 2))


# Name, class, loss, batches, and for SGD, Adam and AdamW the learning rate and which data. ResNet-8 learns slowly: where a
# deep network learns fast, one ReLU that rounding tips over moves its curve by more than all other rounding does.
MODELS = [
    ("mlp", Mlp, F.cross_entropy, noise(32, 64), (0.02, 1), (0.001, 1), (0.001, 1)),
    ("cnn", Cnn, F.cross_entropy, noise(16, 1, 12, 12), (0.005, 1), (0.001, 1), (0.0005, 1)),
    ("resnet8", ResNet8, F.cross_entropy, squares(16, 3, 12), (0.00005, 1), (0.00001, 1), (0.00001, 1)),
    ("resnet18", ResNet18, F.cross_entropy, squares(8, 3, 4), (0.01, 1), (0.0003, 1), (0.0003, 1)),
    ("gpt", Gpt, F.cross_entropy, text(8, 16), (0.01, 1), (0.001, 1), (0.0005, 1)),
    ("own", Own, F.mse_loss, series(16, 8, 4), (0.05, 1), (0.005, 1), (0.002, 1)),
]

DOUBLE = {"resnet18"}

OPTIMIZERS = [
    ("sgd", torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.001}),
    ("adam", torch.optim.Adam, {"betas": (0.9, 0.98), "eps": 1e-5, "weight_decay": 0.01}),
    ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}),
]


def curve(build, loss_of, batch, optimizer, settings, lr, data, double=False, moved=0.0):
    model, batches = fill(build()), [batch(1000 * data + b) for b in range(BATCHES)]
    if double:
        model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + moved)
    o = optimizer(model.parameters(), lr=lr, **settings)
    losses = []
    for step in range(STEPS):
        x, y = batches[step % BATCHES]
        if double:
            x, y = x.double(), y.double() if y.is_floating_point() else y
        o.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        o.step()
        losses.append(loss.item())
    model.eval()
    return losses, loss_of(model(x), y).item()


def main():
    torch.set_num_threads(1)
    cases = []
    for name, build, loss_of, batch, *rates in MODELS:
        for (optimizer, cls, settings), (lr, data) in zip(OPTIMIZERS, rates):
            double = name in DOUBLE
            losses, after = curve(build, loss_of, batch, cls, settings, lr, data, double)
            exact, exactly = curve(build, loss_of, batch, cls, settings, lr, data, double=True, moved=2**-52 if double else 0)
            rounding = max(abs(a - b) / abs(b) for a, b in zip(losses + [after], exact + [exactly]))
            print(f"{name:9} {optimizer:6} loss {losses[0]:.4f} -> {losses[-1]:.4f}, rounding {rounding:.1e}", flush=True)
            betas = settings.get("betas", (0, 0))
            cases.append({"model": name, "double": double, "optimizer": optimizer, "data": data, "lr": lr, "momentum": settings.get("momentum", 0),
                          "weight_decay": settings["weight_decay"], "beta1": betas[0], "beta2": betas[1],
                          "eps": settings.get("eps", 0), "losses": losses, "evaluated": after})
    os.makedirs(TESTDATA, exist_ok=True)
    with open(os.path.join(TESTDATA, "parity.json"), "w") as f:
        json.dump({"torch": torch.__version__, "cases": cases}, f, indent=0)
        f.write("\n")
    torch.jit.script(Own()).save(os.path.join(TESTDATA, "parity-own.pt"))


if __name__ == "__main__":
    main()
