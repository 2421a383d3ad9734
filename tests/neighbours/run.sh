#!/bin/sh
# Hold backlight against other libraries, each in an environment of its own: they do not install
# together. `make neighbours` runs this; the benchmarks' environments are used where they are.
set -eu
cd "$(dirname "$0")/../.."
for neighbour in nnsight transformer-lens transformer-lens-3; do
    home=".venv-peers/$neighbour"
    [ -e "$home/bin/python" ] || python3 -m venv "$home"
    if [ ! -e "$home/.tested" ]; then
        "$home/bin/pip" install --quiet --requirement "benchmarks/requirements-${neighbour%-3}.txt"
        [ "$neighbour" = transformer-lens ] || [ "$neighbour" = nnsight ] ||
            "$home/bin/pip" install --quiet 'transformer-lens==3.9.0' # the last with HookedTransformer
        "$home/bin/pip" install --quiet --constraint constraints.txt --editable . \
            pytest hypothesis beartype sybil
        touch "$home/.tested"
    fi
    "$home/bin/python" -m pytest -q -s -p no:cacheprovider tests/neighbours
done
