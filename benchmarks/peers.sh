#!/bin/sh
# Time each peer against the bare floor, each in an environment of its own: they do not install
# together. `make bench-peers` runs this; it takes some ten minutes and needs an idle machine.
set -eu
cd "$(dirname "$0")/.."
batches=$(mktemp --suffix .npz)
trap 'rm -f "$batches"' EXIT
.venv/bin/python benchmarks/layers.py --save-batches "$batches" ${DATASET:+--dataset "$DATASET"}
folder=$(.venv/bin/python -c \
    'from backlight.models.loading.smollm2 import smollm2_folder; print(smollm2_folder())')
for peer in nnsight captum transformer-lens; do
    home=".venv-peers/$peer"
    if [ ! -e "$home/.installed" ]; then
        python3 -m venv "$home"
        "$home/bin/pip" install --quiet --requirement "benchmarks/requirements-$peer.txt"
        touch "$home/.installed"
    fi
    name=$(echo "$peer" | tr - _)
    "$home/bin/python" benchmarks/peers.py --peer "$name" --model "$folder" \
        --batches "$batches" --repeats "${REPEATS:-5}"
done
