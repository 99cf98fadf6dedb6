"""A module whose state dict leaves out a frozen part, because that part is stored elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn


class PartialState(nn.Module):
    """Module whose state dict contains all weights except those of the attribute named by `frozen`."""

    frozen: ClassVar[str]

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return the state dict without the frozen part."""
        state = super().state_dict(*args, **options)
        for name in [name for name in state if name.startswith(f"{options.get('prefix', '')}{self.frozen}.")]:
            del state[name]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state dict; the frozen part may be absent.

        Raises:
            RuntimeError: If `strict`, and names are missing or unknown.
        """
        result = super().load_state_dict(state_dict, False, assign)
        missing = [name for name in result.missing_keys if not name.startswith(f"{self.frozen}.")]
        if strict and (missing or result.unexpected_keys):
            kind = type(self).__name__.lower()
            raise RuntimeError(
                f"state dict does not fit this {kind}: {missing} missing, {result.unexpected_keys} unknown"
            )
        return result
