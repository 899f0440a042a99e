"""Measure ASR models: `benchmark`, `compare` and `validate`, each returning a typed result."""

from __future__ import annotations

from workers.evaluation.benchmarking.benchmark import Benchmark, benchmark
from workers.evaluation.comparison.compare import compare
from workers.evaluation.comparison.results import Comparison
from workers.evaluation.systems.base import FunctionSystem, ModelSystem
from workers.evaluation.systems.plans import PlanSystem
from workers.evaluation.testset import TestSet, read_test_set
from workers.evaluation.validation.validate import Validation, validate

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
