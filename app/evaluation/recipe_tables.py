"""Runs of a system's recipes side by side, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.core.errors import InvalidInput
from app.evaluation.decisions import balanced_accuracy, balanced_threshold, labelled_scores
from app.evaluation.run_record import RunRecord
from app.evaluation.tables import markdown

NOTHING = "-"
Value = float | None
Runs = Mapping[str, Sequence[RunRecord]]
DECISIONS = {"accuracy": "Accuracy", "precision": "Precision", "recall": "Recall"}
RANKING = {
    "roc_auc": "Area under the ROC curve",
    "recall_at_precision_0.99": "Recall at a precision of 0.99",
}
TEST_LOSS = "loss"
PAIRS = {
    **{key: f"{title}, pairs of single pictures" for key, title in DECISIONS.items()},
    **RANKING,
    TEST_LOSS: "Loss of the test pairs",
}
CLAIMS = {
    "claim_accuracy": "Claims decided rightly (balanced)",
    "rank_one": "Right class first, one against all",
}
CONDITIONS = DECISIONS | RANKING
SHOWN = ("-loss", "-roc")
SPLITS = {
    "subject": "classes never seen in training",
    "picture": "other pictures of the classes learned from",
    "given": "the data set's own test part, of the classes learned from",
}
NEAR_DUPLICATES = (
    "Near-duplicate detection: every genuine pair is a picture and an altered copy of that same "
    "capture. These figures say how well altered copies are found again, for each difficulty of "
    "the alteration; they are no error rates of verification."
)
CLAIMS_TOLD = (
    "A claim is one picture, the probe, against the enrolled pictures of a class, of which there "
    "are as many as the table says unless a class has too few; the best of their scores decides. "
    "For the right class first, a probe is held against all classes in this way. Claims are "
    "decided at the threshold that is best on claims among the validation classes, and the "
    "accuracy is balanced: the mean of the shares of true claims accepted and of false ones "
    "refused. Every other figure is of pairs of two single pictures."
)


def system_block(runs: Runs, folder: str, pictures: Sequence[str]) -> str:
    """All that the records say of a system, without a heading.

    Args:
        runs: of each of its recipes, at least one, the original's first.
        folder: of the pictures, as seen from the page.
        pictures: names of those that are there.
    """
    parts = [
        f"**{NEAR_DUPLICATES}**\n" if _near_duplicates(runs) else "",
        figures_table(runs),
        _caption(runs),
        _conditions(runs),
        _reasons(runs),
        _symptoms(runs),
        _pictures(folder, pictures),
    ]
    return "\n".join(part for part in parts if part)


def figures_table(runs: Runs) -> str:
    """A column a recipe, a row a figure: mean over the seeds, and the least and the greatest."""
    reported = next(iter(runs.values()))[0].recipe["reported"]
    head = ["", *(["The original reports"] if reported else []), *(f"`{name}`" for name in runs)]
    rows = []
    for key, title, said in _rows(runs):
        cells = [said(records) for records in runs.values()]
        if all(cell == NOTHING for cell in cells):
            continue
        told = [shown(reported[key]) if key in reported else NOTHING] if reported else []
        rows.append([title, *told, *cells])
    return markdown(head, rows)


def spread(values: Sequence[Value]) -> str:
    """Mean (least to greatest) of those that are numbers; one alone by itself."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean, low, high = (shown(v) for v in (sum(known) / len(known), min(known), max(known)))
    return mean if len(known) == 1 else f"{mean} ({low}-{high})"


def shown(value: float) -> str:
    """A figure: three digits after the point, or none where it is large."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def amount(count: float) -> str:
    """A large count in words of a thousand: 12.3 M."""
    for size, word in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{word}"
    return f"{count:.0f}"


def _rows(runs: Runs) -> list[tuple[str, str, Callable[[Sequence[RunRecord]], str]]]:
    """Key in what is reported, title, and what to say of a recipe's runs.

    What an original reports as "loss" is that of its training, not that of test pairs.
    """
    every = [run for records in runs.values() for run in records]
    keys = {key for run in every for key in run.figures if key.startswith("accuracy_of_")}
    shots = {key: key.replace("_", " ").capitalize() for key in sorted(keys)}
    return [
        ("", "Tested on", lambda records: SPLITS[_data(records)["split"]]),
        ("", "Test classes, pictures, pairs", _test_sizes),
        *((key if key != TEST_LOSS else "", t, _mean_figure(key)) for key, t in PAIRS.items()),
        ("", "Accuracy of pairs, had the test chosen the threshold", _suited),
        ("", "Pictures enrolled a class", _enrolled),
        *((key, title, _mean_figure(key)) for key, title in (CLAIMS | shots).items()),
        ("", "Threshold on the score", lambda records: spread([r.threshold for r in records])),
        ("loss", "Training loss at the end", _mean_last("loss")),
        ("validation_loss", "Validation loss at the end", _mean_last("validation_loss")),
        ("", "Seeds", lambda records: ", ".join(str(run.seed) for run in records)),
        ("", "Epochs run", _epochs),
        ("", "Training, s", lambda records: spread([r.train_s + r.transfer_s for r in records])),
        ("", "Parameters", lambda records: amount(records[0].parameters)),
        ("", "Multiply-adds a picture", lambda records: amount(records[0].multiply_adds)),
        ("", "Multiply-adds of the training", _training_cost),
        ("", "Products in", lambda records: _listed(run.made_with["dtype"] for run in records)),
    ]


def _data(records: Sequence[RunRecord]) -> dict[str, Any]:
    found: dict[str, Any] = records[0].recipe["data"]
    return found


def _test_sizes(records: Sequence[RunRecord]) -> str:
    tests = [run.parts["test"] for run in records]
    sizes = [[test[what] for test in tests] for what in ("classes", "pictures")]
    return ", ".join(map(_range, [*sizes, [int(run.figures["pairs"] or 0) for run in records]]))


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{most:,}" if least == most else f"{least:,}-{most:,}"


def _suited(records: Sequence[RunRecord]) -> str:
    """What the scores would allow: balanced, at the threshold that is best for these very pairs."""
    return spread([_best_accuracy(run) for run in records])


def _best_accuracy(run: RunRecord) -> Value:
    scores, same = labelled_scores(run.scores)
    try:
        return balanced_accuracy(scores, same, balanced_threshold(scores, same))
    except InvalidInput:  # pairs of one kind only
        return None


def _enrolled(records: Sequence[RunRecord]) -> str:
    protocol = records[0].recipe["protocol"]
    return str(protocol["enrolled"]) if protocol["one_against_all"] else NOTHING


def _mean_figure(key: str) -> Callable[[Sequence[RunRecord]], str]:
    return lambda records: spread([run.figures.get(key) for run in records])


def _mean_last(key: str) -> Callable[[Sequence[RunRecord]], str]:
    return lambda records: spread([run.epochs[-1][key] for run in records])


def _epochs(records: Sequence[RunRecord]) -> str:
    """How many of how many; that a fit was cut short must not be overlooked."""
    count, planned = _range([len(run.epochs) for run in records]), records[0].epochs_planned
    short = any(run.cut_short for run in records)
    return f"**{count} of {planned}, cut short**" if short else f"{count} of {planned}"


def _training_cost(records: Sequence[RunRecord]) -> str:
    costs = [run.training_multiply_adds for run in records]
    told = f"about {amount(sum(costs) / len(costs))}"
    if not any(run.cut_short for run in records):
        return told
    whole = [run.training_multiply_adds * run.epochs_planned / len(run.epochs) for run in records]
    return f"{told} of about {amount(sum(whole) / len(whole))}"


def _listed(words: Any) -> str:
    return ", ".join(dict.fromkeys(str(word) for word in words))


def _near_duplicates(runs: Runs) -> bool:
    return any(_data(records)["mixed_conditions"] for records in runs.values())


def _caption(runs: Runs) -> str:
    every = [run for records in runs.values() for run in records]
    made = _listed(
        f"Whorl {run.made_with['whorl']}, {run.made_with['backend']} on "
        f"{run.made_with['device']} ({run.made_with['cpus']} cores)"
        for run in every
    )
    enrolled = any(_enrolled(records) != NOTHING for records in runs.values())
    read = "; ".join(dict.fromkeys(line for run in every for line in run.reading))
    lines = [
        *([f"Read: {read}.\n"] if read else []),
        "Mean over the seeds, in brackets the least and the greatest. Half of the test pairs are "
        "genuine: an accuracy of 0.5 is chance. Each seed draws its own split, pairs and weights. "
        "The multiply-adds of a training are an estimate: three times those of a pass forward for "
        f"every picture shown. Made with {made}.\n",
        *([f"{CLAIMS_TOLD}\n"] if enrolled else []),
        *_ends(every),
    ]
    return "\n".join(lines)


def commands(runs: Runs) -> str:
    """What makes these records: the recipes by how many seeds they were run with."""
    by_seeds: dict[int, list[str]] = {}
    for name, records in runs.items():
        by_seeds.setdefault(max(run.seed for run in records), []).append(name)
    return ", ".join(
        f"`whorl recipes run {' '.join(names)} --seeds {seeds}`"
        for seeds, names in by_seeds.items()
    )


def _ends(every: Sequence[RunRecord]) -> list[str]:
    """Which runs ended before their last epoch; those that a limit ended first, and in bold."""

    def told(short: bool) -> str:
        ends = [run for run in every if run.stopped and run.cut_short == short]
        return ", ".join(f"`{run.name}` with seed {run.seed} ({run.stopped})" for run in ends)

    short, early = told(True), told(False)
    cut = f"**Cut short**, so that these figures are not what the recipe can do: {short}.\n"
    return [*([cut] if short else []), *([f"Ended by themselves: {early}.\n"] if early else [])]


def _conditions(runs: Runs) -> str:
    rows = [
        [
            condition,
            f"`{name}`",
            spread([_of(run, condition).get("pairs") for run in records]),
            *(spread([_of(run, condition).get(k) for run in records]) for k in CONDITIONS),
        ]
        for condition in dict.fromkeys(
            c for rs in runs.values() for run in rs for c in run.by_condition
        )
        for name, records in runs.items()
    ]
    head = ["Condition", "Recipe", "Pairs", *CONDITIONS.values()]
    return markdown(head, rows) if rows else ""


def _of(run: RunRecord, condition: str) -> dict[str, Value]:
    return run.by_condition.get(condition, {})


def _reasons(runs: Runs) -> str:
    lines = []
    for name, records in runs.items():
        recipe = records[0].recipe
        for title, key in (("What was wrong", "wrong"), ("What changed", "changed")):
            if recipe[key]:
                lines.append(f"- **{title}** (`{name}`): {recipe[key]}\n")
    return "".join(lines)


def _symptoms(runs: Runs) -> str:
    """What the diagnosis said during the fits: of each kind once, as the first seed said it."""
    lines = []
    for name, records in runs.items():
        found: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
        for run in records:
            for symptom in run.symptoms:
                found.setdefault(symptom["name"], []).append((run, symptom))
        for same in found.values():
            run, first = same[0]
            lines.append(
                f"- `{name}`, {len(same)} of {len(records)} seeds, from epoch {first['epoch']} "
                f"(seed {run.seed}): {first['detail']}.\n"
            )
    return f"What the fits said of themselves:\n\n{''.join(lines)}" if lines else ""


def _pictures(folder: str, pictures: Sequence[str]) -> str:
    """Losses and ROC are shown, the others linked to: a page of all of them would be endless."""
    first = [name for name in pictures if name.endswith(SHOWN)]
    images = " ".join(f"![{name}]({folder}/{name}.png)" for name in first)
    links = [f"[{name}]({folder}/{name}.png)" for name in pictures if name not in first]
    return f"{images}\n\nFurther pictures: {', '.join(links)}.\n"
