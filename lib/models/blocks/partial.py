"""A module whose state is what learns: the frozen network beside it is known, and not kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn


class PartialState(nn.Module):
    """Leaves the part of the name `frozen` out of its state, and does not miss it in another's."""

    frozen: ClassVar[str]

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return what learns."""
        state = super().state_dict(*args, **options)
        for name in [name for name in state if name.startswith(f"{options.get('prefix', '')}{self.frozen}.")]:
            del state[name]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take over what another of the kind learned.

        Raises:
            RuntimeError: If strict, and names are missing or unknown.
        """
        result = super().load_state_dict(state_dict, False, assign)
        missing = [name for name in result.missing_keys if not name.startswith(f"{self.frozen}.")]
        if strict and (missing or result.unexpected_keys):
            kind = type(self).__name__.lower()
            raise RuntimeError(f"another {kind}'s state: {missing} missing, {result.unexpected_keys} unknown")
        return result
