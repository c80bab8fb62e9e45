"""The models of the throughput figures, in plain PyTorch; the same weights and code run on both sides as TorchScript."""
import torch
from torch import nn


class Mlp(nn.Module):
    """784-512-512-10 with ReLU."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, x):
        return self.net(x)


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet8(nn.Module):
    """Three blocks of 16, 32 and 64 channels on 3x32x32."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        y = self.blocks(torch.relu(self.bn(self.conv(x))))
        return self.fc(y.mean([2, 3]))


class Layer(nn.Module):
    """Causal self-attention and a feed-forward net, each after its normalisation and added to what came in."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask):
        b, t, d = x.shape
        qkv = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        scores = qkv[0].matmul(qkv[1].transpose(2, 3)) * ((d // self.heads) ** -0.5) + mask
        y = torch.softmax(scores, dim=-1).matmul(qkv[2]).transpose(1, 2).reshape(b, t, d)
        x = x + self.out(y)
        return x + self.mlp(self.ln2(x))


class Gpt(nn.Module):
    """Four layers of width 128 with 4 heads, 128 tokens of 256 kinds. Tokens come as floats, as all input does."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(256, 128)
        self.positions = nn.Parameter(torch.randn(128, 128) * 0.02)
        self.layers = nn.ModuleList([Layer(128, 4) for _ in range(4)])
        self.ln = nn.LayerNorm(128)
        self.head = nn.Linear(128, 256, bias=False)

    def forward(self, x):
        t = x.size(1)
        mask = torch.full([t, t], float("-inf"), device=x.device).triu(1)
        y = self.tokens(x.long()) + self.positions[:t]
        for layer in self.layers:
            y = layer(y, mask)
        return self.head(self.ln(y)).transpose(1, 2)


def pixels(batch, *shape):
    return torch.randn(batch, *shape), torch.randint(0, 10, (batch,))


def text(batch, *shape):
    return torch.randint(0, 256, (batch, *shape)).float(), torch.randint(0, 256, (batch, *shape))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=3e-4)


# Of each model: how it is built, the shape of a row, how a batch and the optimizer are made.
MODELS = {
    "mlp": (Mlp, (784,), pixels, sgd),
    "resnet8": (ResNet8, (3, 32, 32), pixels, sgd),
    "gpt": (Gpt, (128,), text, adamw),
}
