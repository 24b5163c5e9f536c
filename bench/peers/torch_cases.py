"""The cases of the benchmarks in PyTorch, eager, each used in its fastest way.

A case has `run`, `finish` (reads a small result) and `sample` (elements the contenders agree on).
"""

import math
import time

import torch
from torch import nn
from torch.nn import functional as F

SAMPLES = 7


def values(shape, seed):
    """Element i is ((7919 i + 104729 seed) mod 1009 - 504) / 512, as in bench/values.ts."""
    count = math.prod(shape)
    numbers = (torch.arange(count) * 7919 + 104729 * seed) % 1009
    return ((numbers - 504).to(torch.float32) / 512).reshape(shape)


def labels(count, classes):
    return torch.arange(count) * 7 % classes


class Compute:
    """Computes a tensor again and again, without recording gradients."""

    def __init__(self, compute):
        self.compute = compute
        self.result = None

    def run(self):
        with torch.inference_mode():
            self.result = self.compute()

    def finish(self):
        self.result[(0,) * self.result.dim()].item()

    def sample(self):
        elements = self.result.detach().flatten()
        count = elements.numel()
        return [elements[k * (count - 1) // (SAMPLES - 1)].item() for k in range(SAMPLES)]


class Train:
    """Runs `steps` training steps; `step` returns the loss."""

    def __init__(self, step, steps):
        self.step = step
        self.steps = steps
        self.loss = None

    def run(self):
        for _ in range(self.steps):
            self.loss = self.step()

    def finish(self):
        self.loss.item()

    def sample(self):
        return None


def fastest(candidates, seconds=0.15):
    """The candidate whose best run is the shortest."""

    def best(case):
        case.run()
        end = time.perf_counter() + seconds
        shortest = math.inf
        while True:
            start = time.perf_counter()
            case.run()
            now = time.perf_counter()
            shortest = min(shortest, now - start)
            if now > end:
                return shortest

    return min(candidates, key=best)


def gemm(m, k, n, transposeA=False, transposeB=False):
    a = values([k, m], 1).t() if transposeA else values([m, k], 1)
    b = values([n, k], 2).t() if transposeB else values([k, n], 2)
    return Compute(lambda: torch.mm(a, b))


def conv(direction, x, weight, stride, padding):
    """Forward or one gradient, in the faster of both layouts of memory."""
    inputs, kernels = values(x, 1), values(weight, 2)
    with torch.inference_mode():
        y = F.conv2d(inputs, kernels, stride=stride, padding=padding)
    gradient = values(y.shape, 3)

    def candidate(layout):
        a, w, g = (t.contiguous(memory_format=layout) for t in (inputs, kernels, gradient))
        if direction == "forward":
            return Compute(lambda: F.conv2d(a, w, stride=stride, padding=padding))
        wanted = [direction == "inputGrad", direction == "weightGrad", False]
        which = wanted.index(True)
        # What autograd calls, and torch.nn.grad.conv2d_input and conv2d_weight too.
        backward = torch.ops.aten.convolution_backward
        shared = (None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, wanted)
        return Compute(lambda: backward(g, a, w, *shared)[which])

    return fastest([candidate(layout) for layout in (torch.contiguous_format, torch.channels_last)])


def elementwise(op, shape):
    a, b = values(shape, 1), values(shape, 2)
    weight, bias = values(shape[-1:], 3), values(shape[-1:], 4)
    compute = {
        "add": lambda: a + b,
        "mul": lambda: a * b,
        "exp": lambda: torch.exp(a),
        "tanh": lambda: torch.tanh(a),
        "gelu": lambda: F.gelu(a),
        "sigmoid": lambda: torch.sigmoid(a),
        "softmax": lambda: torch.softmax(a, -1),
        "layerNorm": lambda: F.layer_norm(a, shape[-1:], weight, bias),
    }
    return Compute(compute[op])


class Differentiate(Compute):
    """Computes a tensor and its gradients again and again; the first gradient is the result."""

    def __init__(self, compute, inputs, gradient):
        super().__init__(compute)
        self.inputs = inputs
        self.gradient = gradient

    def run(self):
        for x in self.inputs:
            x.grad = None
        self.compute().backward(self.gradient)
        self.result = self.inputs[0].grad


def sdpa(shape, causal, gradients):
    q, k, v, g = (values(shape, seed) for seed in (1, 2, 3, 4))

    def attend():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    if not gradients:
        return Compute(attend)
    return Differentiate(attend, [x.requires_grad_() for x in (q, k, v)], g)


class Overhead:
    """`repeats` sums of two short vectors, with or without a tape."""

    def __init__(self, length, repeats, records):
        self.repeats = repeats
        self.records = records
        with torch.inference_mode(not records):
            self.a, self.b = values([length], 1), values([length], 2)
            self.a.requires_grad_(records)

    def run(self):
        a, b = self.a, self.b
        with torch.inference_mode(not self.records):
            for _ in range(self.repeats):
                total = a + b
        self.total = total

    def finish(self):
        self.total.sum().item()

    def sample(self):
        count = self.total.numel()
        return [self.total[k * (count - 1) // (SAMPLES - 1)].item() for k in range(SAMPLES)]


def trainer(model, x, y, rate, optimizer, steps):
    """A step as everybody writes it; the optimizer's fused form is its fastest."""
    update = getattr(torch.optim, optimizer)(model.parameters(), lr=rate, fused=True)

    def step():
        update.zero_grad()
        outputs = model(x)
        loss = F.cross_entropy(outputs.view(-1, outputs.shape[-1]), y)
        loss.backward()
        update.step()
        return loss

    return Train(step, steps)


def mlp(batch, sizes, rate, steps):
    inputs, hidden, outputs = sizes
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    return trainer(model, values([batch, inputs], 1), labels(batch, outputs), rate, "Adam", steps)


def cnn(batch, rate, steps):
    """The convolutional network of `npm start`, in the faster of both layouts of memory."""

    def candidate(layout):
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        ).to(memory_format=layout)
        x = values([batch, 1, 28, 28], 1).contiguous(memory_format=layout)
        return trainer(model, x, labels(batch, 10), rate, "Adam", steps)

    return fastest([candidate(layout) for layout in (torch.contiguous_format, torch.channels_last)])


class Block(nn.Module):
    """Causal self-attention and two dense layers, each after a layer norm and beside a residual."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.dense1, self.dense2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        projected = self.project(self.norm1(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.join(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.dense2(F.gelu(self.dense1(self.norm2(x))))


class GPT(nn.Module):
    """Embeddings of tokens and positions, blocks, and a score per token of the vocabulary."""

    def __init__(self, vocabulary, tokens, layers, width, heads):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(tokens, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("places", torch.arange(tokens))

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.token(x) + self.position(self.places))))


def attention(batch, tokens, vocabulary, layers, width, heads, rate, steps):
    model = GPT(vocabulary, tokens, layers, width, heads)
    x = labels(batch * tokens, vocabulary).view(batch, tokens)
    y = labels(batch * tokens, vocabulary)
    return trainer(model, x, y, rate, "Adam", steps)


CASES = {
    "gemm": gemm,
    "conv": conv,
    "elementwise": elementwise,
    "overhead": Overhead,
    "mlp": mlp,
    "cnn": cnn,
    "attention": attention,
    "sdpa": sdpa,
}
