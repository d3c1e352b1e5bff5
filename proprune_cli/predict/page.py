"""The page ``docs/datasets.md``, with the columns as `proprune_cli.predict.schema` declares them."""

from __future__ import annotations

import sys

from proprune_cli.pages import main, table
from proprune_cli.predict.sampling import METHODS
from proprune_cli.predict.schema import LABELS, LAYER, NETWORK, VERSION

PAGE = "docs/datasets.md"

HEAD = f"""# Data sets of networks and what they cost

Made from the declarations in `proprune_cli/predict/schema.py` by `python -m proprune_cli.predict.page`; do not edit.

    proprune dataset --out data/networks

makes 10,000 rows: variants of the networks of the zoo, each compiled for an array and walked by the timing model. The
figures are **predicted**: no row was measured on a board. `--rows`, `--seed`, `--model`, `--board` and `--array` say
which rows; the same options give the same file, byte for byte. Killed and run again, the command makes the rows that
are not there.

A variant is made of the integers of a network with random weights: cycles depend on which weights there are and not on
their values. The ways are {", ".join(f"`{m}`" for m in METHODS)}; image sizes, shares, and batches of 1 to 8 are
drawn. Each network meets each array and each way as often as the others; networks of many layers, which take long,
have fewer rows. Taps, tilings, places in memory and waits are those of the compiler, and only the encoding of the
program is left out, so that a row has the cycles of the compiled program.

## On a cluster

`--processes N` takes N processes of this machine. `--dask tcp://HOST:PORT` hands the work to a Dask scheduler
(`pip install 'proprune[predict,dask]'` on every node). Workers need no shared files: networks travel to them, and rows
back. A worker that is lost loses no row. With SLURM, dask-jobqueue starts the workers:

```python
from dask_jobqueue import SLURMCluster

cluster = SLURMCluster(cores=8, processes=8, memory="16GB", walltime="01:00:00")
cluster.scale(jobs=4)
print(cluster.scheduler_address)  # for: proprune dataset --out data/networks --rows 100000 --dask ADDRESS
input("Enter ends the cluster")
```

## The file

`dataset.parquet`, schema version {VERSION}; the file's metadata names schema, timing model and energy model. Rows that
a board measured have `source` = `measured` and the meter in `model`; nothing that reads a data set mixes the two
unasked.

"""


def page() -> str:
    """Text of the page."""
    network = table(("column", "type", "meaning"), [(f"`{n}`", kind, text) for n, (kind, text) in NETWORK.items()])
    layers = table(("field", "type", "meaning"), [(f"`{n}`", kind, text) for n, (kind, text) in LAYER.items()])
    known = ", ".join(f"`{name}`" for name in LABELS)
    passes = f"The column `layers` is a list, one entry for each pass of the engine. {known} are known once a network"
    passes += " is scheduled, and are no input of a predictor."
    return f"{HEAD}{network}\n\n## Passes\n\n{passes}\n\n{layers}\n"


if __name__ == "__main__":
    sys.exit(main("proprune_cli.predict.page", {PAGE: page()}))
