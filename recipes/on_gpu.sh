#!/bin/sh
# What recipes ask of a GPU, for a machine that has one and no network: it gets 53 MB, and gives two
# models of 40 MB back in pieces of 15 MB.
#
#   recipes/on_gpu.sh pack KIND FOLDER       here, with the command corom; generated or taught
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
    case $1 in generated) sample=generated ;; taught) sample=reranker ;; esac
    corom data sample "recipes/$sample-sample.toml"
    mkdir -p "$2"
    xz -T0 -c "runs/$sample/sampled/pairs.jsonl" > "$2/pairs.jsonl.xz"
    cp ../shared/data/train/graded.jsonl.xz "$2"
    xz -dc "$2/graded.jsonl.xz" | grep kuake_qqr_train > "$2/kuake.jsonl"
    cp -r models/corom-medical "$2/start"
    du -sh "$2"
}

generated() {
    mkdir -p "$2" runs/generated
    xz -dc "$1/pairs.jsonl.xz" > runs/generated/pairs.jsonl
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
        --set "data.graded=[\"$1/graded.jsonl.xz\"]" ${FLAGS:-}
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
