"""The report's sections about the model: curves, confusion matrix, classes, examples, the data it learned from."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from s2a_core.outputs.card import split_words
from s2a_core.outputs.charts import Line, line_chart
from s2a_core.outputs.class_figures import class_figures
from s2a_core.tasks import metrics_of, task_of
from s2a_core.tasks.task import Metric

Document = Mapping[str, Any]
MOST_COUNTED = 40  # classes whose images are counted on the page
_MAX_CLASSES = 24  # a larger confusion matrix is listed, not drawn


def curves_section(report: Document) -> str:
    """Loss and the task's metrics by epoch, or by step where only one epoch ran."""
    history = list(report.get("history") or [])
    if not history:
        return ""
    loss = [
        Line("training", _points(history, "train_loss"), "c1"),
        Line("validation", _points(history, "val_loss"), "c2"),
    ]
    metrics = "".join(_metric_chart(history, metric) for metric in task_of(report).shown)
    steps = [(float(i + 1), float(v)) for i, v in enumerate(report.get("step_losses") or [])]
    by_step = (
        f"<h3>Loss of each step</h3>{curve_chart([Line('training', smoothed(steps), 'c1')], 'step', 'Loss by step')}"
        if len(history) < 3 and len(steps) > 3
        else ""
    )
    return (
        "<section><h2>Training</h2>"
        f'<p class="sub">{html.escape(_best(report))}</p><div class="two">'
        f"<div><h3>Loss</h3>{curve_chart(loss, 'epoch', 'Loss by epoch')}</div>{metrics}</div>{by_step}</section>"
    )


def _metric_chart(history: Sequence[Document], metric: Metric) -> str:
    """One metric by epoch, of the splits that have it."""
    lines = [
        Line("training", _points(history, f"train_{metric.name}"), "c1"),
        Line("validation", _points(history, f"val_{metric.name}"), "c2"),
    ]
    drawn = curve_chart(lines, "epoch", f"{metric.title} by epoch", metric.is_share)
    return f"<div><h3>{metric.title}</h3>{drawn}</div>"


def confusion_section(report: Document) -> str:
    """True classes in rows, predicted in columns; a list of the commonest mistakes for many classes."""
    matrix = report.get("confusion") or []
    classes = [str(name) for name in report.get("classes") or range(len(matrix))]
    if not matrix:
        return ""
    if len(matrix) > _MAX_CLASSES:
        return f"<section><h2>Commonest confusions</h2>{_confusion_list(matrix, classes)}</section>"
    head = "".join(f'<th class="t"><span>{html.escape(name)}</span></th>' for name in classes)
    rows = ""
    for true, row in enumerate(matrix):
        total = sum(row) or 1
        cells = ""
        for predicted, count in enumerate(row):
            share = count / total
            css = ("hit" if true == predicted else "miss") + (" strong" if share > 0.6 else "")
            weight = f"{100 * share if true == predicted else 25 + 75 * share:.0f}%"
            title = html.escape(f"{classes[true]} taken for {classes[predicted]}: {count} of {total}")
            cells += f'<td class="{css}" style="--w:{weight}" title="{title}">{count}</td>' if count else "<td></td>"
        rows += f'<tr><th class="r">{html.escape(classes[true])}</th>{cells}</tr>'
    return (
        "<section><h2>Confusion matrix</h2><p class='sub'>Validation images: the true class in rows, what the model "
        "said in columns.</p>"
        f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>{rows}</table></div></section>'
    )


def classes_section(report: Document) -> str:
    """Precision and recall of each class, the worst recognised first."""
    rows = class_figures(report)
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{html.escape(row.name)}</td><td class='num'>{row.images}</td><td class='num'>{_share(row.precision)}</td>"
        f"<td class='num'>{_share(row.recall)}</td></tr>"
        for row in rows
    )
    table = (
        "<div class='scroll'><table><tr><th>class</th><th class='num'>validation images</th>"
        f"<th class='num'>precision</th><th class='num'>recall</th></tr>{body}</table></div>"
    )
    if len(rows) > _MAX_CLASSES:
        table = f"<details><summary>All {len(rows)} classes</summary>{table}</details>"
    words = "Precision: of the images that were called so, the share that is. Recall: of its images, the share that was recognised."
    return f"<section><h2>Classes</h2><p class='sub'>{words} The least recognised come first.</p>{table}</section>"


def outputs_section(report: Document) -> str:
    """The figures of each label or column."""
    rows, task = report.get("by_output") or [], task_of(report)
    if not rows:
        return ""
    head = "".join(f"<th class='num'>{figure.words}</th>" for figure in task.figures)
    body = ""
    for row in rows:
        values = [(figure, row.get(figure.name)) for figure in task.figures]
        cells = "".join(f"<td class='num'>{'–' if v is None else figure.text(float(v))}</td>" for figure, v in values)
        body += f"<tr><td>{html.escape(str(row.get('name')))}</td>{cells}</tr>"
    title = task.nouns[1].capitalize()
    table = f"<table><tr><th></th>{head}</tr>{body}</table>"
    return f"<section><h2>{title}</h2><div class='scroll'>{table}</div></section>"


def examples_section(report: Document) -> str:
    """Validation images with the worst answers; beside them correct ones."""
    wrong = _gallery(report, "mistakes")
    right = _gallery(report, "correct")
    parts = (
        ("Example mistakes", task_of(report).mistakes, wrong),
        ("Correct answers", "The image of each class that the model is most certain about, and right.", right),
    )
    return "".join(
        f"<section><h2>{title}</h2><p class='sub'>{words}</p><div class=\"gallery\">{figures}</div></section>"
        for title, words, figures in parts
        if figures
    )


def _gallery(report: Document, name: str) -> str:
    classes = [str(word) for word in report.get("classes") or []]
    rows = [row for row in report.get(name) or [] if row.get("thumbnail")]
    return "".join(
        f'<figure><img src="{row["thumbnail"]}" alt="{html.escape(truth_of(row, classes))}">'
        f'<figcaption><b class="{name}">{html.escape(answer_of(row, classes))}</b> '
        f"{_sureness(row)}"
        + (f"<br><span>is {html.escape(truth_of(row, classes))}</span>" if name == "mistakes" else "")
        + "</figcaption></figure>"
        for row in rows
    )


def answer_of(row: Document, classes: Sequence[str]) -> str:
    """What the model said of an example."""
    return str(row["answer"]) if "answer" in row else _class(classes, row["predicted"])


def truth_of(row: Document, classes: Sequence[str]) -> str:
    """What an example is."""
    return str(row["truth"]) if "truth" in row else _class(classes, row["label"])


def _sureness(row: Document) -> str:
    probability = row.get("probability")
    return "" if probability is None else f"{100 * float(probability):.0f} %"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def data_section(report: Document) -> str:
    """What was found in the data before training."""
    data = report.get("dataset") or {}
    if not data:
        return ""
    split = data.get("split") or {}
    task = task_of(report)
    made = (
        f"{split_words(report)} {100 * float(split.get('val_fraction', 0)):.0f} % held out with seed {split.get('seed')}"
        if split.get("made")
        else "the split the data came with"
    )
    sides = data.get("sides") or {}
    lead = (
        f"{data.get('num_train', 0):,} training and {data.get('num_val', 0):,} validation images in "
        f"{data.get('num_classes')} {task.nouns[1]}; {made}. Sides from {sides.get('min', '?')} to {sides.get('max', '?')} pixels."
    )
    warnings = "".join(f"<li>{html.escape(str(w))}</li>" for w in data.get("warnings") or [])
    counts = data.get("class_counts") or {}
    most = max((sum(pair) for pair in counts.values()), default=1) or 1
    bars = "".join(
        f'<div class="row"><span>{html.escape(str(name))}</span><span class="track"><i class="fill bg1" style="width:'
        f'{100 * (train + val) / most:.1f}%"></i></span><span class="num">{train} + {val}</span></div>'
        for name, (train, val) in list(counts.items())[:MOST_COUNTED]
    )
    rest = len(counts) - MOST_COUNTED
    more = f"<p class='sub'>and {rest:,} more in report.json</p>" if rest > 0 else ""
    counted = (
        f"<details><summary>Images per {task.noun} (training + validation)</summary>"
        f"<div class='rows'>{bars}</div>{more}</details>"
        if bars
        else ""
    )
    remarks = f'<p class="pill warn">worth knowing</p><ul class="plain">{warnings}</ul><br>' if warnings else ""
    return f"<section><h2>Data</h2><p class='sub'>{html.escape(lead)}</p>{remarks}{counted}</section>"


def smoothed(points: Sequence[tuple[float, float]], width: int = 9) -> list[tuple[float, float]]:
    """A running mean over `width` neighbours."""
    half = width // 2
    return [
        (x, sum(y for _, y in points[max(0, i - half) : i + half + 1]) / len(points[max(0, i - half) : i + half + 1]))
        for i, (x, _) in enumerate(points)
    ]


def curve_chart(lines: Sequence[Line], x_label: str, title: str, is_share: bool = False, height: int = 270) -> str:
    """Curves of training by epoch or step. is_share: values are 0 to 1, drawn in percent."""
    return line_chart(
        [line for line in lines if line.points],
        title=title,
        x_label=x_label,
        x_format=lambda x: f"{x:.0f}" if abs(x - round(x)) < 1e-6 else "",
        y_format=(lambda y: f"{100 * y:.0f} %" if y <= 1 else "") if is_share else (lambda y: f"{y:.3g}"),
        y_from_zero=not is_share,
        height=height,
    )


def _points(history: Sequence[Document], key: str) -> list[tuple[float, float]]:
    return [(float(row.get("epoch", i)), float(row[key])) for i, row in enumerate(history) if row.get(key) is not None]


def _best(report: Document) -> str:
    metrics = metrics_of(report)
    if not metrics:
        return ""
    main, value = metrics[0]
    epoch = report.get("best_epoch")
    where = f" after epoch {epoch}" if epoch is not None else ""
    return f"Best validation {main.words} {main.text(value, 2)}{where}; that state is what adapter.safetensors holds."


def _confusion_list(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    pairs = sorted(
        ((count, t, p) for t, row in enumerate(matrix) for p, count in enumerate(row) if count and t != p), reverse=True
    )[:30]
    rows = "".join(
        f"<tr><td>{html.escape(classes[t])}</td><td>{html.escape(classes[p])}</td><td class='num'>{count}</td></tr>"
        for count, t, p in pairs
    )
    return f"<div class='scroll'><table><tr><th>is</th><th>taken for</th><th class='num'>times</th></tr>{rows}</table></div>"


def _class(classes: Sequence[str], label: int) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)
