"""The benchmark: contenders side by side in one run, judged by ratios, not by absolute figures."""
