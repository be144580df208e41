#!/bin/sh
# What recipes ask of a GPU, for a machine that has one and no network: it gets 60 MB, and gives two
# models of 40 MB back in pieces of 15 MB.
#
#   recipes/on_gpu.sh pack FOLDER            here, with the command corom
#   recipes/on_gpu.sh generated FOLDER OUT   there: recipes/corom-medical-generated.toml and what it
#                                            needs, and a reranker of the same pairs
#   recipes/on_gpu.sh taught FOLDER OUT      there: recipes/corom-medical-reranker.toml, and
#                                            recipes/corom-medical-taught.toml, which it teaches
#   recipes/on_gpu.sh unpack OUT             here again: runs/NAME/model of each
#
# "There" is a checkout and a python3 with torch, numpy, safetensors, tokenizers, rich, typer,
# accelerate and scikit-learn; the checkout may go without models/ and src/corom/models/embedded/.
# FLAGS holds flags more for the trainings: FLAGS="--set optimizer.max_steps=2" tries it without a
# GPU, with GENERATE="--steps 2 --batch 8".
set -eu
python="env PYTHONPATH=src:recipes python3"
corom="$python -m corom"

pack() {
    corom data sample recipes/reranker-sample.toml
    corom data sample recipes/generated-sample.toml
    mkdir -p "$1"
    xz -T0 -c runs/reranker/sampled/pairs.jsonl > "$1/pairs.jsonl.xz"
    xz -T0 -c runs/generated/sampled/pairs.jsonl > "$1/generated-pairs.jsonl.xz"
    xz -dc ../shared/data/train/graded.jsonl.xz > "$1/graded.jsonl"
    grep kuake_qqr_train "$1/graded.jsonl" > "$1/kuake.jsonl"
    cp -r models/corom-medical "$1/start"
    du -sh "$1"
}

generated() {
    mkdir -p "$2" runs/generated
    xz -dc "$1/generated-pairs.jsonl.xz" > runs/generated/pairs.jsonl
    $python recipes/generate.py runs/generated/pairs.jsonl --model "$1/start" \
        --out runs/generated/generated.jsonl ${GENERATE:-}
    $corom mine recipes/generated-mine.toml --set precision=auto --model "$1/start" \
        --set 'data=["runs/generated/pairs.jsonl", "runs/generated/generated.jsonl"]'
    $corom train recipes/corom-medical-generated.toml --model "$1/start" \
        --set "data.graded=[\"$1/kuake.jsonl\"]" ${FLAGS:-}
    pieces corom-medical-generated "$2"
    $corom train reranker recipes/corom-medical-generated-reranker.toml --model "$1/start" ${FLAGS:-}
    pieces corom-medical-generated-reranker "$2"
}

taught() {
    mkdir -p "$2"
    $corom mine recipes/reranker-mine.toml --set precision=auto --model "$1/start" \
        --set "data=[\"$1/pairs.jsonl.xz\"]"
    $corom train reranker recipes/corom-medical-reranker.toml --model "$1/start" ${FLAGS:-}
    pieces corom-medical-reranker "$2"
    $corom train recipes/corom-medical-taught.toml --model "$1/start" \
        --set "data.graded=[\"$1/graded.jsonl\"]" ${FLAGS:-}
    pieces corom-medical-taught "$2"
}

pieces() {  # the float16 form of a run's model in parts that may be sent one by one
    half="runs/$1/model-half"
    rm -rf "$half"  # of a run before
    $corom convert "runs/$1/model" "$half" --dtype float16
    tar -C "$half" -c . | split -b 15m - "$2/$1.tar."
}

unpack() {
    for first in "$1"/*.tar.aa; do
        name=$(basename "$first" .tar.aa)
        mkdir -p "runs/$name/model"
        cat "$1/$name".tar.* | tar -C "runs/$name/model" -x
    done
}

"$@"
