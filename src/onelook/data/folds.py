"""The folds that `onelook split --folds` writes: their files, and checks that they belong together."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from onelook.data.dataset_copy import YAML_NAME
from onelook.data.splits import Splits
from onelook.errors import DataError, combined
from onelook.files.bounded import printable

logger = logging.getLogger(__name__)


def fold_files(folder: Path) -> tuple[Path, ...]:
    """The YAML files of the folds in `folder`, in their order.

    Raises:
        DataError: it has none or one, or there are gaps between them.
    """
    hint = "`onelook split DATA --folds 5 --output FOLDER` makes such a folder"
    if not folder.is_dir():
        raise DataError(f"folder of folds `{printable(folder)}` does not exist", hint=hint)
    matches = (re.fullmatch(r"fold([1-9]\d{0,5})", entry.name) for entry in folder.iterdir())
    numbers = sorted(int(match[1]) for match in matches if match)
    if not numbers:
        is_fold = folder.absolute().name.startswith("fold") and (folder / YAML_NAME).is_file()
        raise DataError(
            f"folder `{printable(folder)}` has no `fold1/{YAML_NAME}`",
            hint=f"give the folder that holds all folds: `--folds {printable(folder.parent)}`" if is_fold else hint,
        )
    files = [folder / f"fold{number}" / YAML_NAME for number in range(1, max(numbers[-1], 2) + 1)]
    missing = [f"`{printable(file)}`" for file in files if not file.is_file()]
    if missing:
        raise DataError(
            f"folds in `{printable(folder)}` count from 1 without gaps, at least to 2; not there: "
            f"{', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}",
            hint=hint,
        )
    return tuple(files)


def refuse_other_classes(data: Sequence[Path], found: Sequence[Splits]) -> None:
    """Raise DataError if the folds in the files `data`, read as `found`, differ in their classes."""
    first = found[0].names
    others = [
        f"`{printable(path)}`: {_listed(of.names)}" for path, of in zip(data, found, strict=True) if of.names != first
    ]
    if others:
        title = f"the classes of all folds must be those of `{printable(data[0])}`: {_listed(first)}; but"
        raise combined(DataError, title, others, hint="make the folds again with `onelook split --folds`")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:8])
    return f"{len(names)} ({shown}{', ...' if len(names) > 8 else ''})"


def warn_of_repetitions(found: Sequence[Splits]) -> None:
    """Warn if an image is validated on in more than one fold."""
    counts = Counter(path for of in found for path in of.scans["val"].index.paths)
    repeated = [path for path, count in counts.items() if count > 1]
    if repeated:
        logger.warning(
            "the folds are not independent: images that more than one fold validates on: %s, such as `%s`",
            f"{len(repeated):,}",
            printable(repeated[0]),
        )
