"""`s2a push`: a finished run as a model repository of the Hugging Face hub, which timm loads by name where it can."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import timm
from timm.models import save_for_hf

from s2a_core.adapters import merged_state_dict
from s2a_core.errors import InvalidInput, JobFailed
from s2a_core.inference.export import export_run
from s2a_core.inference.formats import PACKAGE, _full_precision, _timm_arguments
from s2a_core.inference.load import LoadedRun
from s2a_core.outputs.card import hub_lines, scale_words
from s2a_core.sizes import format_bytes
from s2a_core.tasks import metrics_of

FIGURES = (
    "accuracy",
    "metrics",
    "predicted_peak_bytes",
    "measured_peak_bytes",
    "budget_bytes",
    "trainable_params",
    "total_params",
)
UNKNOWN_LICENCE = "other"


def push_run(run: LoadedRun, repository: str, *, is_private: bool = False, token: str | None = None) -> dict[str, Any]:
    """Create `owner/name` where it is not there, and upload model, card and figures: {"repository", "url", "files"}.

    No path of this machine is in what is sent. token: the one that `hf auth login` stored unless given.
    Raises InvalidInput for a name that is none, JobFailed with the hub's words where it refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InvalidInput(f"a repository is OWNER/NAME, not {repository!r}", details={"repository": repository})
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as work:
        files = write_repository(run, Path(work), repository)
        try:
            api.create_repo(repository, private=is_private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=work, commit_message="Model trained by s2a")
        except HFValidationError as error:
            raise InvalidInput(f"{repository!r} is no name of a repository: {error}") from error
        except (HfHubHTTPError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise JobFailed(
                f"the hub did not take {repository}: {reason}; `hf auth login` stores a token that may write"
            ) from error
    return {"repository": repository, "url": f"{api.endpoint}/{repository}", "files": files}


def write_repository(run: LoadedRun, folder: Path, repository: str) -> list[str]:
    """The files of the repository: timm's own where the adapter merges into the weights, s2a's package else."""
    state = merged_state_dict(run.model) if run.outputs.task.network is None else None  # what timm loads by name
    if state is None:
        export_run(run, folder / f"model{PACKAGE.suffixes[0]}")
    else:
        name, arguments = _timm_arguments(run)
        model = timm.create_model(name, **arguments)
        model.load_state_dict(_full_precision(state))
        config = {"label_names": list(run.classes), "num_classes": len(run.classes)}
        own = {key: value for key, value in arguments.items() if key != "num_classes"}  # such as the size of images
        save_for_hf(model, str(folder), model_config=config, model_args=own, safe_serialization=True)
    figures = {name: run.report[name] for name in FIGURES if run.report.get(name) is not None}
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(repository_card(run, repository, is_timm=state is not None), encoding="utf-8")
    return sorted(path.name for path in folder.iterdir())


def repository_card(run: LoadedRun, repository: str, *, is_timm: bool) -> str:
    """Markdown with front matter: base model, licence, figures, and code that uses the model."""
    report = run.report
    config: Any = getattr(run.model, "pretrained_cfg", None) or {}
    licence = str(config.get("license") or UNKNOWN_LICENCE)
    task, metrics = run.outputs.task, metrics_of(report)
    measured = (
        "model-index:\n- name: "
        + repository.split("/")[1]
        + f"\n  results:\n  - task: {{type: {task.pipeline_tag or task.name}}}\n"
        "    dataset: {name: validation images, type: images}\n    metrics:\n"
        + "".join(f"    - {{type: {metric.name}, value: {value:.4f}}}\n" for metric, value in metrics)
        if metrics
        else ""
    )
    lines = [f"| validation {metric.words} | {metric.text(value, 2)} |" for metric, value in metrics]
    lines += [
        f"| {words} | {format_bytes(int(report[name]))} |"
        for name, words in (("budget_bytes", "memory budget"), ("measured_peak_bytes", "measured peak of training"))
        if report.get(name)
    ]
    use = (
        f'import timm\n\nmodel = timm.create_model("hf-hub:{repository}", pretrained=True).eval()'
        if is_timm
        else "from pathlib import Path\n\nfrom s2a_core.inference import load_run\n\n"
        'run = load_run(Path("model"))  # after unpacking model.zip to ./model'
    )
    table = "\n".join(lines)
    return f"""---
library_name: {"timm" if is_timm else "s2a"}
license: {licence}
{hub_lines(report)}tags: [{", ".join(filter(None, (task.pipeline_tag, "s2a")))}]
{measured}---

# {repository.split("/")[1]}

`{report["model"]}` for {len(run.classes)} {task.nouns[1]}, trained by s2a inside a memory budget.

| | |
|---|---|
{table}

{task.nouns[1].capitalize()}: {", ".join(run.classes[:100])}{"" if len(run.classes) <= 100 else " and more"}.
{scale_words(report)}
## Use

```python
{use}
```

The licence is that of the base model's weights as timm states it; `other` where timm states none.
"""
