"""Oracles compute in float64."""

import pytest

pytest.importorskip("jax").config.update("jax_enable_x64", True)
