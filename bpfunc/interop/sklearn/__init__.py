"""Estimators for scikit-learn: thin shells over the library's pure functions, with the parameters of its own MLPs.

What an estimator does when it is fitted can be read in `_Backprop._records`: a training is the iterator that
`bpfunc.training.loop.train` gives, validated, logged and stopped by ordinary consumers. The estimator keeps the last
record's `TrainState` in ``state_`` and nothing else that it could not do without.

Reference: Buitinck et al., "API design for machine learning software: experiences from the scikit-learn project"
(2013).
"""

try:
    from bpfunc.interop.sklearn.classifier import BackpropClassifier
    from bpfunc.interop.sklearn.parameters import RATES, SOLVERS, Callback, Write
    from bpfunc.interop.sklearn.regressor import BackpropRegressor
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "bpfunc.interop.sklearn needs scikit-learn: pip install 'bpfunc[sklearn]'", name=missing.name
    ) from None

__all__ = ["BackpropClassifier", "BackpropRegressor", "RATES", "SOLVERS", "Callback", "Write"]
