"""The comparison networks equal the networks of MONAI."""

import torch
from monai.networks.nets import DynUNet

from lib.models.monai_networks import dynunet_small

FILTERS = (4, 8, 8, 16, 16)


def test_dynunet_equals_that_of_monai() -> None:
    network = dynunet_small(spatial_dims=2, in_channels=1, out_channels=2, filters=FILTERS)
    options = {"filters": FILTERS, "deep_supervision": True, "deep_supr_num": 3}
    reference = DynUNet(2, 1, 2, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, **options)
    assert not reference.load_state_dict(network.state_dict(), strict=False).unexpected_keys
    x = torch.rand(2, 1, 32, 48)
    torch.testing.assert_close(network.eval()(x), reference.eval()(x))
    outputs, stacked = network.train()(x), reference.train()(x)
    assert len(outputs) == stacked.shape[1] == 4
    for i, logits in enumerate(outputs):
        torch.testing.assert_close(logits, stacked[:, i, :, :: 2**i, :: 2**i])
