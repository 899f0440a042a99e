"""Measuring models: `benchmark`, `compare`, `validate`, each with a typed result."""

from __future__ import annotations

from workers.evaluation.benchmarking import Benchmark, benchmark
from workers.evaluation.comparison import compare
from workers.evaluation.comparison_results import Comparison
from workers.evaluation.plan_system import PlanSystem
from workers.evaluation.systems import FunctionSystem, ModelSystem
from workers.evaluation.testset import TestSet, read_test_set
from workers.evaluation.validation import Validation, validate

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
