"""Networks with random weights: what is compared between devices does not depend on what they have learned."""

import torch

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN


def draw_network(name: str = "ddamfn-nano", seed: int = 0) -> DDAMFN:
    """A network with random weights: residual blocks count, no mean vanishes, and heads tell frames apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DDAMFN(NETWORKS[name])
        for key, weight in network.named_parameters():
            if key.endswith("project.norm.weight"):
                torch.nn.init.uniform_(weight, 0.2, 0.5)
            elif key.endswith("norm.bias"):
                torch.nn.init.normal_(weight, std=0.2)
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.2)  # type: ignore[arg-type]
    return network
