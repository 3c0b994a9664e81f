"""The same network and training in plain PyTorch: what the training is measured against."""

import itertools

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Three convolutions, a layer of 64 on the sphere of radius alpha, ten logits: (n, 1, 28, 28) to (n, 10).

    pool_first : pooling before the ReLU, as in the training scripts, and not after it, as is usual. Both orders give
    the same outputs.
    """

    def __init__(self, alpha=16.0, pool_first=False):
        super().__init__()
        channels = [1, 32, 64, 128]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(channels)
        )
        self.features = nn.Linear(3 * 3 * 128, 64)
        self.logits = nn.Linear(64, 10)
        self.alpha = alpha
        self.pool_first = pool_first

    def forward(self, x):
        for convolution in self.convolutions:
            x = convolution(x)
            x = functional.relu(functional.max_pool2d(x, 2)) if self.pool_first else functional.max_pool2d(x.relu(), 2)
        x = self.features(x.flatten(1)).float()
        return self.logits(self.alpha * functional.normalize(x))


def tensors(x, y):
    """Images, (n, 28, 28, 1), and labels as tensors in the memory order that PyTorch is fastest with."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).to(memory_format=torch.channels_last), torch.from_numpy(y)


def train(train, val, batch_size, epochs, bfloat16, pool_first):
    """A plain loop, and after each epoch the validation accuracy, (epochs,). train, val : as `tensors` gives them."""
    network = Network(pool_first=pool_first).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    x, y = train
    accuracies = []
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch_size):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracies.append((embed(network, val[0], bfloat16).argmax(1) == val[1]).float().mean().item())
    return accuracies


def embed(network, x, bfloat16=False):
    """The outputs of a network for images, a thousand at a time."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        return torch.cat([network(batch) for batch in x.split(1000)])
