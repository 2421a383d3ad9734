#!/bin/sh
# Hold backlight against other libraries, each in an environment of its own: they do not install
# together. `make neighbours` runs this; the benchmarks' environments are used where they are.
set -eu
cd "$(dirname "$0")/../.."

# One environment: neighbour NAME PACKAGES...
neighbour() {
    home=".venv-peers/$1"
    shift
    [ -e "$home/bin/python" ] || python3 -m venv "$home"
    if [ ! -e "$home/.tested" ]; then
        "$home/bin/pip" install --quiet torch==2.13.0 "$@"
        "$home/bin/pip" install --quiet torch==2.13.0 --editable '.[gguf]' \
            pytest hypothesis beartype sybil
        touch "$home/.tested"
    fi
    "$home/bin/python" -m pytest -q -s -p no:cacheprovider tests/neighbours
}

neighbour nnsight --requirement benchmarks/requirements-nnsight.txt
neighbour transformer-lens --requirement benchmarks/requirements-transformer-lens.txt
neighbour transformer-lens-3 'transformer-lens==3.9.0' # the last with HookedTransformer
neighbour saelens 'sae-lens==6.54.12'                  # with the Transformers that it asks for
neighbour lm-eval --no-deps 'lm-eval==0.4.13' pandas tzdata # its files are enough
