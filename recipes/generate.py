"""Questions made for the passages of training pairs, as more pairs to learn from.

    python recipes/generate.py runs/generated/sampled/pairs.jsonl --model corom-medical \
        --out runs/generated/pairs.jsonl

A generator (recipes/generator.py) learns from the pairs, then asks about each passage that answered
a patient: three questions in the style of its own source and one title. Kept are those whose
passage the model finds among the first 20 of all the pairs' passages (round-trip consistency,
Alberti et al., 1906.05416). Three minutes on an H200, hours on a CPU. The generator is not kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from corom.encoder import Encoder
from corom.engines.torch_bert import KERNELS, TorchBert
from corom.files import write_bytes
from corom.models.checkpoint import Checkpoint
from corom.models.names import open_model
from corom.readers import Pair, read_pairs
from corom.tokens import TokenCutter, TokenIds, pad
from corom.training.optimizer import rate_share
from corom.training.retrieval import Nearest, cuda_device
from generator import IGNORED, Generator

TITLES, QUESTIONS = "toyhom_neike_titles", "toyhom_neike_sample"
# Whose own style of asking is worth having, and whose passages get a title only: those of dialogues
# ask in the middle of a talk.
ASKERS = ("toyhom*", "musicrap*", "skymed*", "enddonkey*", "heima*", "remedi*")
TALKERS = ("promptcblue_imcs*", "promptcblue_mdc*", "mie*", "dialmed*", "covid_dialogue*", "midmed")
PASSAGE, QUESTION, LONGEST = 192, 96, 64  # tokens: read, learned to ask, asked
RATE, NEW_RATE = 3e-4, 1e-3
DEPTH = 20  # the passage of a question that is kept is found among the first so many
SPREAD = 16  # batches that are drawn together, questions of one length in each


class Examples(NamedTuple):
    """Pairs as the generator learns from them."""

    passages: list[TokenIds]
    questions: list[TokenIds]
    """Ending with [SEP], without [CLS]."""
    styles: NDArray[np.int64]
    chances: NDArray[np.float64]
    """Of each pair to be drawn, 1 in all."""


class Asked(NamedTuple):
    """A question made for a passage."""

    question: str
    passage: str


def main() -> None:
    """Train, ask, keep what is found again, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", required=True, help="what the generator is grown from")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl of pairs")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pairs = list(read_pairs(options.pairs))
    styles = {name: n for n, name in enumerate(sorted({pair.source for pair in pairs}))}
    torch.manual_seed(options.seed)
    checkpoint, rng = open_model(options.model), np.random.default_rng(options.seed)
    generator = grown(checkpoint, styles=len(styles))
    found = examples(pairs, checkpoint, styles)
    with sdpa_kernel(KERNELS):
        train(generator, found, steps=options.steps, batch=options.batch, rng=rng)
        made = list(ask(generator, checkpoint, plan(pairs), styles))
    encoder = Encoder(checkpoint, device=cuda_device() or "auto")
    kept = found_again(made, [pair.positive for pair in pairs], encoder)
    lines = (
        json.dumps(
            {"query": one.question, "positive": one.passage, "source": "generated"},
            ensure_ascii=False,
        )
        for one in kept
    )
    write_bytes(options.out, "".join(f"{line}\n" for line in lines).encode())
    print(f"{options.out}: {len(kept)} of {len(made)} questions")


def grown(checkpoint: Checkpoint, *, styles: int) -> Generator:
    """Return a generator grown from an encoder, on the GPU if there is one."""
    bert = TorchBert(checkpoint.shape, dropout=0.1)
    bert.load_weights(checkpoint.load_weights())
    return Generator(bert, styles=styles).to(cuda_device() or "cpu")


def examples(pairs: Sequence[Pair], checkpoint: Checkpoint, styles: dict[str, int]) -> Examples:
    """Return pairs as token ids; those of patients are drawn more often."""
    reader = TokenCutter(checkpoint.tokenizer_json, max_length=PASSAGE)
    writer = TokenCutter(checkpoint.tokenizer_json, max_length=QUESTION + 1)
    chances = np.array([_weight(pair.source) for pair in pairs])
    return Examples(
        [one.ids for one in reader.cut([pair.positive for pair in pairs])],
        [one.ids[1:] for one in writer.cut([pair.query for pair in pairs])],
        np.array([styles[pair.source] for pair in pairs]),
        chances / chances.sum(),
    )


def _weight(source: str) -> float:
    if fnmatch(source, "toyhom*"):
        return 1.5
    return 1.0 if _is_one(source, ASKERS + TALKERS) else 0.45


def _is_one(source: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(source, pattern) for pattern in patterns)


def train(
    generator: Generator, found: Examples, *, steps: int, batch: int, rng: np.random.Generator
) -> None:
    """Teach the generator, in bf16 on a GPU; the loss is printed."""
    device = generator.bias.device
    new = generator.new_parts()
    known = {id(weight) for weight in new}
    old = [weight for weight in generator.parameters() if id(weight) not in known]
    groups = [{"params": old, "peak": RATE}, {"params": new, "peak": NEW_RATE}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    generator.train()
    for step, (ids, lengths, styles, questions) in enumerate(
        batches(found, steps=steps, batch=batch, rng=rng), 1
    ):
        for group in optimizer.param_groups:
            share = rate_share(step, steps=steps, warmup=0.05, schedule="linear")
            group["lr"] = group["peak"] * share
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = generator.loss(ids.to(device), lengths, styles.to(device), questions.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == steps:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)


def batches(
    found: Examples, *, steps: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield passages, their lengths, styles and questions; the next batch is made meanwhile."""

    def chosen() -> Iterator[NDArray[np.int64]]:
        for _ in range(0, steps, SPREAD):
            rows = rng.choice(len(found.passages), batch * SPREAD, p=found.chances)
            size = [len(found.questions[row]) + len(found.passages[row]) / 8 for row in rows]
            yield from rng.permutation(rows[np.argsort(size)].reshape(SPREAD, batch))

    def made(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ids, lengths = _padded([found.passages[row] for row in rows])
        questions, ends = _padded([found.questions[row] for row in rows])
        questions[torch.arange(questions.shape[1]) >= ends[:, None]] = IGNORED
        return ids, lengths, torch.from_numpy(found.styles[rows]), questions

    with ThreadPoolExecutor(max_workers=1) as pool:
        rows = [each for each, _ in zip(chosen(), range(steps), strict=False)]
        coming = pool.submit(made, rows[0])
        for following in rows[1:]:
            ready, coming = coming.result(), pool.submit(made, following)
            yield ready
        yield coming.result()


def _padded(tokens: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(ids) for ids in tokens])
    return torch.from_numpy(pad(tokens, int(lengths.max()))).to(torch.int64), lengths


def plan(pairs: Sequence[Pair]) -> dict[str, tuple[str, ...]]:
    """Return the passages that answered patients and the styles they are asked about in.

    None is a style that the pairs have no example of.
    """
    known = {pair.source for pair in pairs}
    asked: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        if wanted := tuple(name for name in _styles_for(pair.source) if name in known):
            asked.setdefault(pair.positive, wanted)
    return asked


def _styles_for(source: str) -> tuple[str, ...]:
    if fnmatch(source, "toyhom*"):
        return (TITLES, TITLES, QUESTIONS, TITLES)
    if _is_one(source, ASKERS):
        return (source, source, TITLES, source)
    return (TITLES,) if _is_one(source, TALKERS) else ()


def ask(
    generator: Generator,
    checkpoint: Checkpoint,
    asked: dict[str, tuple[str, ...]],
    styles: dict[str, int],
    *,
    batch: int = 512,
) -> Iterator[Asked]:
    """Yield the questions that are made, none of them twice for a passage, none empty."""
    device = generator.bias.device
    cutter, tokenizer = (
        TokenCutter(checkpoint.tokenizer_json, max_length=PASSAGE),
        _words(checkpoint),
    )
    tokens = dict(zip(asked, cutter.cut(list(asked)), strict=True))
    end = int(cutter.cut([""])[0].ids[-1])
    never = [tokenizer.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]")]
    order = sorted(asked, key=lambda text: (len(asked[text]), len(tokens[text].ids)))
    generator.eval()
    while order:
        count = len(asked[order[-1]])
        part = [text for text in order[-batch:] if len(asked[text]) == count]
        order = order[: -len(part)]
        ids, lengths = _padded([tokens[text].ids for text in part])
        wanted = torch.tensor([[styles[name] for name in asked[text]] for text in part])
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = generator.ask(
                ids.to(device), lengths, wanted.to(device), most=LONGEST, end=end, never=never
            )
        for text, rows in zip(part, found.tolist(), strict=True):
            made = [_text(tokenizer, [one for one in row if one != end]) for row in rows]
            for question in dict.fromkeys(made):
                if len(question) > 3:
                    yield Asked(question, text)


def _words(checkpoint: Checkpoint) -> Tokenizer:
    return Tokenizer.from_str(checkpoint.tokenizer_json)


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Return tokens as text; WordPiece puts a space between all, Chinese has none."""
    return str(tokenizer.decode(ids)).replace(" ", "").replace("##", "")


def found_again(made: Sequence[Asked], passages: Sequence[str], encoder: Encoder) -> list[Asked]:
    """Return the questions whose passage is among the first `DEPTH` of all passages."""
    texts = list(dict.fromkeys(passages))
    places = {text: place for place, text in enumerate(texts)}
    nearest = Nearest(encoder.encode_passages(texts), device=cuda_device())
    queries = encoder.encode_queries([one.question for one in made])
    hits = nearest.search(queries, k=DEPTH).positions
    return [
        one for one, best in zip(made, hits, strict=True) if places[one.passage] in best.tolist()
    ]


if __name__ == "__main__":
    main()
