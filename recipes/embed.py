"""Make the embedded model from trained weights: smaller vocabulary, int8, portable folder.

    python recipes/embed.py runs/corom-medical-averaged \
        src/corom/models/embedded/corom-medical --master models/corom-medical
    python recipes/write_card.py

The master is the same model in float16 (full linear layers), to fine-tune or to convert anew.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from corom.engines.compression import bundled_texts, compress
from corom.files import atomic_folder
from corom.models.checkpoint import load_checkpoint
from corom.models.config import Encoding
from corom.models.convert import convert
from corom.models.int8 import save_int8
from corom.models.portable import Portable, write_portable
from corom.models.weights import INT8, SINGLE
from vocabulary import prune_vocabulary

CARD = Path(__file__).with_name("corom_medical_card.md")
# What only full weights give a meaning to: `corom convert corom-medical FOLDER` restores it.
NOT_EMBEDDED = shutil.ignore_patterns(
    SINGLE, "manifest.json", "modules.json", "1_Pooling", "2_Normalize", "*sentence*", "vocab.txt"
)
# The published use of the base model: [CLS], unit length, no instruction in front of queries.
ENCODING = Encoding(pooling="cls", normalize=True, max_length=256)


def main() -> None:
    """Make the folder and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--master", type=Path, help="folder for the float16 form")
    options = parser.parse_args()
    for folder in (options.target, options.master):
        if folder and folder.exists():  # said before a minute's work, not after it
            parser.error(f"{folder} exists already; remove it first")
    base = load_checkpoint(options.base)
    pruned = prune_vocabulary(base.tokenizer_json, base.load_weights())
    shape = replace(base.shape, vocabulary=len(pruned.kept))
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / options.target.name
        model = Portable(shape, ENCODING, pruned.weights, pruned.tokenizer_json)
        write_portable(full, model, card=CARD.read_text(encoding="utf-8"))
        if options.master:
            convert(full, options.master, dtype="float16")
        calibration, held_out = bundled_texts()
        int8 = compress(load_checkpoint(full), calibration=calibration, held_out=held_out)
        with atomic_folder(options.target) as draft:
            shutil.copytree(full, draft, dirs_exist_ok=True, ignore=NOT_EMBEDDED)
            save_int8(draft / INT8, int8)
    print(f"{base.shape.vocabulary} -> {shape.vocabulary} vocabulary entries")
    print(int8.fidelity.advice() if int8.fidelity else "not measured")


if __name__ == "__main__":
    main()
