"""The exported graph against the network: the same bits, also after saving."""

import torch
from networks import shake, tiny

from point2mask.models import PanopticNetwork
from point2mask.models.export import FixedSizeNetwork, export_network


def test_the_graph_gives_what_the_network_gives(tmp_path):
    torch.manual_seed(0)
    network = shake(PanopticNetwork(tiny())).eval()
    size = (40, 60)
    program = export_network(network, size)
    torch.export.save(program, tmp_path / "network.pt2")
    loaded = torch.export.load(tmp_path / "network.pt2")
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = FixedSizeNetwork(network, size, 100)(image)
        for graph in (program.module(), loaded.module()):
            for ours, theirs in zip(graph(image), expected, strict=True):
                assert torch.equal(ours, theirs)
