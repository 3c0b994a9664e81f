"""The same network and training in plain PyTorch: what the training is measured against."""

import itertools

import torch
from torch import nn
from torch.nn import functional


class Network(nn.Module):
    """Three convolutions, a layer of 64 on the sphere of radius alpha, ten logits: (n, 1, 28, 28) to (n, 10)."""

    def __init__(self, alpha=16.0):
        super().__init__()
        channels = [1, 32, 64, 128]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(channels)
        )
        self.features = nn.Linear(3 * 3 * 128, 64)
        self.logits = nn.Linear(64, 10)
        self.alpha = alpha

    def forward(self, x):
        for convolution in self.convolutions:
            x = functional.max_pool2d(functional.relu(convolution(x)), 2)
        x = self.features(x.flatten(1)).float()
        return self.logits(self.alpha * functional.normalize(x))


def tensors(x, y):
    """Images, (n, 28, 28, 1), and labels as tensors in the memory order that PyTorch is fastest with."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).to(memory_format=torch.channels_last), torch.from_numpy(y)


def train_epoch(train, val, batch_size, bfloat16):
    """One epoch in a plain loop, then the validation accuracy. train, val : as `tensors` gives them."""
    network = Network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    x, y = train
    for rows in torch.randperm(len(x)).split(batch_size):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = functional.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = val
    return (embed(network, x, bfloat16).argmax(1) == y).float().mean().item()


def embed(network, x, bfloat16=False):
    """The outputs of a network for images, a thousand at a time."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        return torch.cat([network(batch) for batch in x.split(1000)])
