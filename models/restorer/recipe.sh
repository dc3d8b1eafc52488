#!/bin/sh
# Trains this model anew: recipe.sh PHOTOGRAPHS OUT, with `vitreous` on the PATH. OUT/3 is the model.
# A stopped run goes on with --resume added to the step that it stopped in.
set -eu
photographs=$1
out=$2

# One denoiser for every σ: the shared body learns what photographs look like.
vitreous train ipt --data "$photographs" --out "$out/1" --name restorer \
    --tasks denoise30 --sigma-from 5 --sigma-to 75 --steps 12000 --lr-floor 0.3 --stop-after 6200

# Five tasks in turn, each beginning with the denoiser's head, query and tail.
vitreous train ipt --data "$photographs" --out "$out/2" --name restorer --init "$out/1" \
    --tasks denoise10,denoise30,denoise50,denoise70,x2 --steps 7000 --lr 1.5e-3 --warmup 100 --seed 2

# Once more, for longer and from a lower peak.
vitreous train ipt --data "$photographs" --out "$out/3" --name restorer --init "$out/2" \
    --tasks denoise10,denoise30,denoise50,denoise70,x2 --steps 20000 --lr 1.2e-3 --warmup 100 --seed 3
