"""The peers, each written as its own experts would, each in a file that alone imports its library."""

PEERS = {
    "torch foreach": "tests.benchmarks.peers.with_torch:foreach",
    "torch fused": "tests.benchmarks.peers.with_torch:fused",
    "torch compile": "tests.benchmarks.peers.with_torch:compiled",
    "jax scan": "tests.benchmarks.peers.with_jax:scanned",
    "jax step": "tests.benchmarks.peers.with_jax:stepped",
    "scikit-learn": "tests.benchmarks.peers.with_sklearn:classifier",
}
"""Name -> function that makes a `Runner`. Whoever is fastest in a cell is whom we are compared with there."""

PREDICTORS = {
    "onnxruntime": "tests.benchmarks.peers.with_onnxruntime:predictor",
    "torch": "tests.benchmarks.peers.with_torch:predictor",
}
"""Name -> function that makes ``inputs -> logits``."""
