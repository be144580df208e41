"""What is drawn of the rows for each batch: the plan of a run, and one process's share of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corom.errors import InputError
from corom.training.examples import Drawn, draw, row_keys
from corom.training.plan import Keys, plan_run
from corom.training.rows import Rows
from corom.training.run_settings import OptimizerSettings
from corom.training.settings import RowSettings
from corom.training.sources import row_weights


class RowBatches:
    """The batches of a run over rows: which rows, and a query with passages of each.

    A pure function of the settings and `seed`, the same after every resume. `topics` as in
    `plan_epoch`. Raises InputError where the rows fill no step.
    """

    def __init__(
        self,
        rows: Rows,
        data: RowSettings,
        optimizer: OptimizerSettings,
        *,
        seed: int,
        topics: Keys | None = None,
    ) -> None:
        self._rows, self._data, self._seed = rows, data, seed
        weights = row_weights([row.source for row in rows.rows], data.weights)
        self.plan = plan_run(
            weights,
            size=optimizer.batch,
            seed=seed,
            epochs=optimizer.epochs,
            most=optimizer.max_steps and optimizer.max_steps * optimizer.accumulate,
            keys=row_keys(rows.rows) if data.unique else None,
            topics=topics,
        )
        self._wanted = round(weights.sum())
        self._planned = self.plan.per_epoch * optimizer.batch
        # What does not fill the last batch of an epoch comes in another one.
        whole = self._wanted // optimizer.batch * optimizer.batch
        self._kept_apart = max(0, whole - self._planned) if data.unique else 0
        if len(self) < optimizer.accumulate:
            raise InputError(self._too_few(optimizer))

    def _too_few(self, optimizer: OptimizerSettings) -> str:
        unique = ", or set data.unique = false: it lets no query and no positive into a batch twice"
        return (
            f"the data does not fill one step: {self._wanted} rows an epoch give {len(self)} "
            f"batches of optimizer.batch = {optimizer.batch} in {optimizer.epochs:g} epochs, and a "
            f"step takes {optimizer.accumulate}; lower optimizer.batch"
            f"{unique if self._kept_apart else ''}"
        )

    def noted(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the report of the data with how often its rows are used in an epoch."""
        left_out = dict(report["left out"])
        if self._kept_apart:
            left_out["uses of rows an epoch, by data.unique"] = self._kept_apart
        uses = {"wanted": self._wanted, "planned": self._planned}
        return {**report, "left out": left_out, "uses of rows an epoch": uses}

    def __len__(self) -> int:
        return len(self.plan.rows)

    def answers(self, number: int, share: slice) -> list[tuple[str, ...]]:
        """Return every known answer to each query of a share of batch `number`."""
        rows = self._rows
        return [rows.answers_to(rows.rows[row]) for row in self.plan.rows[number, share]]

    def drawn(self, number: int, share: slice) -> list[Drawn]:
        """Return what each row of a share of batch `number` contributes to it."""
        pool = self._rows.pool if self._data.fill == "random" else ()
        epoch = int(self.plan.epochs[number])
        return [
            draw(
                self._rows.rows,
                row,
                negatives=self._data.negatives,
                seed=self._seed,
                epoch=epoch,
                pool=pool,
                answers=answers,
            )
            for row, answers in zip(
                self.plan.rows[number, share].tolist(), self.answers(number, share), strict=True
            )
        ]
