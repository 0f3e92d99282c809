"""Packaging of ``track``: two dependencies, and an extra for everything that not every user needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def written(name: str, file: str) -> str:
    """Return the text that the package gives this name in a file, without importing it."""
    found = re.search(rf"""^{name} *= *["']([^"']+)["']""", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{file} has no line {name} = '...'")
    return found[1]


FEATURES = {
    "rich": ["rich"],
    "numpy": ["numpy"],
    "pandas": ["pandas"],
    "pyarrow": ["pyarrow", "numpy"],
    "sql": ["duckdb", "pyarrow", "numpy"],
    "cockroach": ["psycopg2-binary"],
    "mongodb": ["pymongo"],
    "fsspec": ["fsspec"],
    "em": ["pyyaml"],
    "experiments": ["pyyaml"],
    "sweep": ["optuna", "pyyaml"],
    "progress": ["tqdm"],
    "s3": ["s3fs"],
    "encrypted": ["cryptography"],
    "gpu": ["nvidia-ml-py"],
    "tensorboard": ["tensorboardX"],
    "cometml": ["comet_ml"],
}

# Large, and of use to those who have them: not part of "all".
SINKS = {"wandb": ["wandb"], "mlflow": ["mlflow"]}

DEVELOPMENT = {
    "examples": ["scikit-learn", "rich"],
    "testing": ["pytest", "hypothesis"],
    "benchmarks": ["tensorboardX", "wandb", "trackio", "mlflow", "aim", "goodseed", "expman-rs"],
    "engines": ["submitit", "dask[distributed]", "joblib"],
    "ray": ["ray"],
    "docs": ["sphinx", "furo", "myst-parser"],
}

setup(
    name=written("DISTRIBUTION", "track/errors.py"),
    version=written("__version__", "track/__init__.py"),
    description="Experiment tracking that keeps every number, whatever happens to the process.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["track", "track.*"]),
    package_data={"track": ["py.typed"], "track.dashboard": ["static/*", "static/vendor/*", "offline/*"]},
    zip_safe=False,
    install_requires=["msgspec>=0.19", "filelock>=3.30"],
    entry_points={
        "console_scripts": ["track = track.cli:main", "exp = track.cli.exp:main", "xmen = track.cli.exp:main"],
        "lightning.pytorch.callbacks_factory": ["track = track.integrations._lightning_checkpoints:of_lightning"],
        "pytorch_lightning.callbacks_factory": [
            "track = track.integrations._lightning_checkpoints:of_pytorch_lightning"
        ],
    },
    extras_require={
        **FEATURES,
        **SINKS,
        **DEVELOPMENT,
        "all": sorted({package for packages in FEATURES.values() for package in packages}),
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
