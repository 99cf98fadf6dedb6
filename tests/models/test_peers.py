"""The peers against MONAI's own forward."""

import torch
from monai.networks.nets import DynUNet

from lib.models.peers import dynunet_small

FILTERS = (4, 8, 8, 16, 16)


def test_dynunet_is_monais() -> None:
    ours = dynunet_small(spatial_dims=2, in_channels=1, out_channels=2, filters=FILTERS)
    options = {"filters": FILTERS, "deep_supervision": True, "deep_supr_num": 3}
    theirs = DynUNet(2, 1, 2, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, **options)
    assert not theirs.load_state_dict(ours.state_dict(), strict=False).unexpected_keys
    x = torch.rand(2, 1, 32, 48)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    outputs, stacked = ours.train()(x), theirs.train()(x)
    assert len(outputs) == stacked.shape[1] == 4
    for i, logits in enumerate(outputs):
        torch.testing.assert_close(logits, stacked[:, i, :, :: 2**i, :: 2**i])
