"""``python -m benchmarks``: figures for the docs, medians and ratios of one run.

The machine may be shared and noisy: compare ratios, not seconds.
"""

from __future__ import annotations

from benchmarks import (
    accuracy,
    bundled_sample,
    cluster,
    corrections,
    dynamical_sets,
    grains,
    large_files,
    scaling,
    virtual,
    window,
)

MODULES = (
    virtual,
    scaling,
    large_files,
    window,
    cluster,
    bundled_sample,
    accuracy,
    dynamical_sets,
    grains,
    corrections,
)


def main() -> None:
    """Run every benchmark and print its table."""
    for module in MODULES:
        print(f"\n## {module.__doc__.splitlines()[0]}\n")
        print(module.table())


if __name__ == "__main__":
    main()
