"""Calibration of models' confidences."""
