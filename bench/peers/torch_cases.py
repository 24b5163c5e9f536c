"""The cases of the benchmarks in PyTorch, each used in its fastest way: eager, or with `compiled` by torch.compile.

A case has `run`, `finish` (reads a small result) and `sample` (elements the contenders agree on).
"""

import math
import signal
import time

import torch
from torch import nn
from torch.nn import functional as F

SAMPLES = 7
# Steps whose losses are compared.
LOSSES = 3
# What torch.compile may take for one case.
COMPILE_SECONDS = 300


class Unavailable(Exception):
    """A contender that cannot run here; it is left out of the comparison."""


def values(shape, seed):
    """Element i is ((7919 i + 104729 seed) mod 1009 - 504) / 512, as in bench/values.ts."""
    count = math.prod(shape)
    numbers = (torch.arange(count) * 7919 + 104729 * seed) % 1009
    return ((numbers - 504).to(torch.float32) / 512).reshape(shape)


def labels(count, classes):
    return torch.arange(count) * 7 % classes


def fill(model):
    """Gives the parameters the values that bench/models.ts gives them."""
    seed = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                seed += 1
                scale = math.sqrt(parameter.shape[0] / parameter.numel())
                parameter.copy_(values(parameter.shape, seed) * scale)
            elif name.endswith("bias"):
                parameter.zero_()
    return model


def compiled_within_reason(compute, attempt, options=None):
    """`compute` by torch.compile, after an attempt with it; Unavailable without a compiler, or if it takes too long."""

    def give_up(*_):
        raise TimeoutError(f"torch.compile took more than {COMPILE_SECONDS} seconds")

    fast = torch.compile(compute, options=options)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(COMPILE_SECONDS)
    try:
        attempt(fast)
    except Exception as error:  # of many kinds: without a C++ compiler, without Python's headers
        raise Unavailable(f"no compiler: {str(error).strip().splitlines()[0]}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return fast


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
    """Runs `steps` training steps; `step` returns the loss. The first losses are its sample."""

    def __init__(self, step, steps):
        self.step = step
        self.steps = steps
        self.loss = None
        self.losses = [step().item() for _ in range(LOSSES)]

    def run(self):
        for _ in range(self.steps):
            self.loss = self.step()

    def finish(self):
        self.loss.item()

    def sample(self):
        return self.losses


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
        "toNHWC": lambda: a.permute(0, 2, 3, 1).contiguous(),
        "toNCHW": lambda: a.permute(0, 3, 1, 2).contiguous(),
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


def trainer(model, x, y, optimizer, steps, compiled=False, **settings):
    """A step as everybody writes it; the optimizer's fused form is its fastest."""
    fill(model)
    update = getattr(torch.optim, optimizer)(model.parameters(), fused=True, **settings)

    def loss_of():
        outputs = model(x)
        return F.cross_entropy(outputs.view(-1, outputs.shape[-1]), y)

    if compiled:
        loss_of = compiled_within_reason(loss_of, lambda fast: fast().backward())

    def step():
        update.zero_grad()
        loss = loss_of()
        loss.backward()
        update.step()
        return loss

    return Train(step, steps)


LAYOUTS = ("contiguous_format", "channels_last")


def image_trainer(make, x, y, layouts=LAYOUTS, **settings):
    """Trains on images, in the faster of both layouts of memory."""

    def candidate(name):
        layout = getattr(torch, name)
        model = make().to(memory_format=layout)
        return trainer(model, x.contiguous(memory_format=layout), y, **settings)

    return fastest([candidate(name) for name in layouts])


def mlp(batch, sizes, rate, steps, compiled=False):
    inputs, hidden, outputs = sizes
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    x, y = values([batch, inputs], 1), labels(batch, outputs)
    return trainer(model, x, y, "Adam", steps, compiled, lr=rate)


def cnn(batch, rate, steps, compiled=False):
    """The convolutional network of `npm start`."""

    def make():
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        )

    shared = dict(optimizer="Adam", steps=steps, compiled=compiled, lr=rate)
    return image_trainer(make, values([batch, 1, 28, 28], 1), labels(batch, 10), **shared)


class BasicBlock(nn.Module):
    """Two convolutions beside a residual, which is shrunk as they do."""

    def __init__(self, start, end, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(start, end, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(end)
        self.conv2 = nn.Conv2d(end, end, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(end)
        self.shortcut = nn.Sequential()
        if stride > 1 or start != end:
            shrink = nn.Conv2d(start, end, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shrink, nn.BatchNorm2d(end))

    def forward(self, x):
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


def resnet18(batch, blocks, rate, momentum, steps, compiled=False, layouts=LAYOUTS):
    """ResNet-18 as it is used on CIFAR, with a 3x3 stem and no pooling after it."""

    def make():
        widths = [64, 64, 128, 256, 512]
        layers = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        for stage in range(4):
            for i in range(blocks):
                start = widths[stage] if i == 0 else widths[stage + 1]
                stride = 2 if i == 0 and stage > 0 else 1
                layers.append(BasicBlock(start, widths[stage + 1], stride))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))

    shared = dict(optimizer="SGD", steps=steps, compiled=compiled, lr=rate, momentum=momentum)
    x, y = values([batch, 3, 32, 32], 1), labels(batch, 10)
    return image_trainer(make, x, y, layouts=layouts, **shared)


class Block(nn.Module):
    """Self-attention and two dense layers, each beside a residual: causal after a norm, or bidirectional before one."""

    def __init__(self, width, heads, causal=True, eps=1e-5):
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.dense1, self.dense2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x):
        batch, tokens, width = x.shape
        projected = self.project(x).view(batch, tokens, 3, self.heads, -1)
        q, k, v = projected.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.join(mixed.transpose(1, 2).reshape(batch, tokens, width))

    def dense(self, x):
        return self.dense2(F.gelu(self.dense1(x)))

    def forward(self, x):
        if self.causal:
            x = x + self.attend(self.norm1(x))
            return x + self.dense(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.dense(x))


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


def attention(batch, tokens, vocabulary, layers, width, heads, rate, steps, compiled=False):
    model = GPT(vocabulary, tokens, layers, width, heads)
    x = labels(batch * tokens, vocabulary).view(batch, tokens)
    y = labels(batch * tokens, vocabulary)
    return trainer(model, x, y, "Adam", steps, compiled, lr=rate)


def inference(compute, compiled):
    if not compiled:
        return Compute(compute)
    with torch.inference_mode():
        return Compute(compiled_within_reason(compute, lambda fast: fast(), {"freezing": True}))


def bert(batch, tokens, layers, width, heads, compiled=False):
    """The layers of BERT after its embeddings."""
    blocks = (Block(width, heads, causal=False, eps=1e-12) for _ in range(layers))
    model = fill(nn.Sequential(*blocks)).eval()
    x = values([batch, tokens, width], 1)
    return inference(lambda: model(x), compiled)


def chain(count, compiled=False):
    """Ten elementwise operations, one after the other."""
    a, b = values([count], 1), values([count], 2)

    def compute():
        x = torch.clamp_min(a * 2 + b, 0) - 0.5
        return torch.clamp_max(torch.abs(x * b - a), 0.75) * x + a

    return inference(compute, compiled)


CASES = {
    "gemm": gemm,
    "conv": conv,
    "elementwise": elementwise,
    "overhead": Overhead,
    "mlp": mlp,
    "cnn": cnn,
    "resnet18": resnet18,
    "attention": attention,
    "sdpa": sdpa,
    "bert": bert,
    "chain": chain,
    "copy": lambda count: Compute(values([count], 1).clone),
}
