"""Measure ASR models: `benchmark`, `compare` and `validate`, each returning a typed result.

Names are imported when they are asked for: who reads a result needs no model runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.evaluation.benchmarking.benchmark import benchmark
    from workers.evaluation.benchmarking.results import Benchmark
    from workers.evaluation.comparison.compare import compare
    from workers.evaluation.comparison.results import Comparison
    from workers.evaluation.systems.base import FunctionSystem, ModelSystem
    from workers.evaluation.systems.plans import PlanSystem
    from workers.evaluation.testset import TestSet, read_test_set
    from workers.evaluation.validation.results import Validation
    from workers.evaluation.validation.validate import validate

__all__ = [
    "Benchmark",
    "Comparison",
    "FunctionSystem",
    "ModelSystem",
    "PlanSystem",
    "TestSet",
    "Validation",
    "benchmark",
    "compare",
    "read_test_set",
    "validate",
]

_MODULES = {
    "Benchmark": "benchmarking.results",
    "Comparison": "comparison.results",
    "FunctionSystem": "systems.base",
    "ModelSystem": "systems.base",
    "PlanSystem": "systems.plans",
    "TestSet": "testset",
    "Validation": "validation.results",
    "benchmark": "benchmarking.benchmark",
    "compare": "comparison.compare",
    "read_test_set": "testset",
    "validate": "validation.validate",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
