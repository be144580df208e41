#!/bin/sh
# What recipes/corom-medical-reranker.toml and recipes/corom-medical-taught.toml ask of a GPU, for a
# machine that has one and no network: it gets 50 MB, and gives two models back in pieces of 15 MB.
#
#   recipes/taught_on_gpu.sh pack FOLDER       here, with the command corom
#   recipes/taught_on_gpu.sh run FOLDER OUT    there, from a checkout: python3 with torch, numpy,
#                                              safetensors, tokenizers, rich, typer, accelerate, scikit-learn
#   recipes/taught_on_gpu.sh unpack OUT        here again: runs/corom-medical-{reranker,taught}/model
#
# The checkout may go without models/ and src/corom/models/embedded/. READER and TAUGHT hold flags
# more for the two trainings: READER="--set optimizer.max_steps=2" tries it without a GPU.
set -eu
there="env PYTHONPATH=src python3 -m corom"

pack() {
    corom data sample recipes/reranker-sample.toml
    mkdir -p "$1"
    xz -T0 -c runs/reranker/sampled/pairs.jsonl > "$1/pairs.jsonl.xz"
    xz -dc ../shared/data/train/graded.jsonl.xz > "$1/graded.jsonl"
    cp -r models/corom-medical "$1/start"
    du -sh "$1"
}

run() {
    mkdir -p "$2"
    $there mine recipes/reranker-mine.toml --set precision=auto --model "$1/start" \
        --set "data=[\"$1/pairs.jsonl.xz\"]"
    $there train reranker recipes/corom-medical-reranker.toml --model "$1/start" ${READER:-}
    pieces runs/corom-medical-reranker/model "$2/reranker"
    $there train recipes/corom-medical-taught.toml --model "$1/start" \
        --set "data.graded=[\"$1/graded.jsonl\"]" ${TAUGHT:-}
    pieces runs/corom-medical-taught/model "$2/taught"
}

pieces() {  # the float16 form of a model in parts that may be sent one by one
    rm -rf "$1-half"  # of a run before
    $there convert "$1" "$1-half" --dtype float16
    tar -C "$1-half" -c . | split -b 15m - "$2.tar."
}

unpack() {
    for name in reranker taught; do
        mkdir -p "runs/corom-medical-$name/model"
        cat "$1/$name".tar.* | tar -C "runs/corom-medical-$name/model" -x
    done
}

"$@"
