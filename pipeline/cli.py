"""The command: one function per verb. A verb imports its stage when it runs, so that `--help` answers at once.

Exit codes: 0 done; 2 the user's mistake; 75 stopped on purpose with a checkpoint; 76 unhealthy node; 1 our bug.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.core.errors import ArtifactError, PenstockError, UserError, missing_package, storage_error

app = typer.Typer(
    name="penstock",
    help="Raw text in, a pretrained and fine-tuned model out. `penstock VERB --help` shows an example of each verb.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ledger = typer.Typer(
    help="What became of all documents, as the ledger says. `penstock ledger COMMAND --help` shows an example.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

recipe = typer.Typer(
    help="Named, pinned lists of filters. `penstock recipe COMMAND --help` shows an example.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

dedup = typer.Typer(
    help="What deduplication finds. `penstock dedup COMMAND --help` shows an example.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _here(given: str) -> Path:
    """As a Path a URL would lose one of its slashes."""
    from pipeline.core.storage import is_url

    if is_url(given):
        raise UserError(f"{given} is a URL; bring it here first: penstock pull {given} DIR")
    return Path(given)


ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file, e.g. configs/data/sample.yaml")]
Settings = Annotated[list[str], typer.Option("--set", help="Override a key of the config: a.b=c (repeatable)")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write")]
Data = Annotated[
    Path,
    typer.Argument(parser=_here, metavar="DIR", help="A prepare folder; or one of its stages, finished or not"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables")]


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine can run, and what is missing.

    Example: penstock doctor
    """
    from pipeline.doctor import examine

    findings = examine()
    if as_json:
        _print_json(findings)
        return
    for name, value in findings.items():
        typer.echo(f"{name:<16} {value}")


@app.command()
def sample(out: Annotated[Path, typer.Argument(help="Folder to write")]) -> None:
    """Write the embedded corpus: the documentation of this installation as Wikipedia dump, books and WARC.

    Example: penstock sample build/sample
    """
    from dataclasses import asdict

    from pipeline.sources.sample import write_sample

    for name, value in asdict(write_sample(out)).items():
        typer.echo(f"{name:<20} {value}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="wikipedia, cc_news or books")],
    out: Annotated[Path, typer.Argument(help="Folder to write")],
    config: Annotated[Path | None, typer.Option(help="YAML file with the settings")] = None,
    settings: Settings = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List files and sizes; fetch nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a corpus: resumed by range, checked against the published sums, polite. Done files are skipped.

    Example: penstock fetch wikipedia build/raw/wikipedia --set language=simple --set date=20260901
    """
    from dataclasses import asdict

    from pipeline.core.config import load
    from pipeline.core.sizes import in_units
    from pipeline.sources.fetch import run as fetcher

    chosen = load(fetcher.config_of(name), config, [f"name={name}", *settings])
    if dry_run:
        files = fetcher.list_files(chosen)
        if as_json:
            _print_json([asdict(file) for file in files])
        else:
            fetcher.print_files(files)
        return
    counts = fetcher.fetch(chosen, out).counts
    if as_json:
        _print_json(counts)
    else:
        typer.echo(f"{out}: {counts['files']} files, {in_units(counts['bytes'])}, whole")


@app.command()
def prepare(
    config: ConfigFile,
    out: Annotated[str, typer.Option(help="Folder to write, or its URL (s3://bucket/run)")],
    work: Annotated[Path | None, typer.Option(help="Folder to work in where --out is a URL")] = None,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Sources, clean, dedup, tokenizer, token shards, on Ray. Done stages are skipped, half done ones resumed.

    Example: penstock prepare --config configs/data/sample.yaml --set input=build/sample --out build/data

    Into a bucket: ... --out s3://bucket/run --work build/work
    """
    from pipeline import prepare as stage
    from pipeline.core.config import load

    summary = stage.prepare(load(stage.PrepareConfig, config, settings), out, work)
    if as_json:
        _print_json(summary.model_dump(mode="json"))
    else:
        stage.print_summary(summary)


@app.command()
def plan(
    config: ConfigFile,
    settings: Settings = [],  # noqa: B006
    world_size: Annotated[int | None, typer.Option(min=1, help="Number of ranks; default: as cluster says")] = None,
    as_json: AsJson = False,
) -> None:
    """Whether a layout can run, and what it needs: parameters, memory per rank, FLOP per token.

    Example: penstock plan --config configs/pretrain/7b.yaml --set model.vocab_size=32000 --set parallel.tp=8
    """
    from pipeline.core.config import load
    from pipeline.train import plan as planner
    from pipeline.train.config import PretrainConfig

    made = planner.plan(load(PretrainConfig, config, settings), world_size)
    if as_json:
        _print_json(made.to_dict())
    else:
        typer.echo(made.describe())


@app.command()
def pretrain(config: ConfigFile, out: Out, settings: Settings = []) -> None:  # noqa: B006
    """One rank of a pretraining run. launch/pretrain.sh checks the config and starts them all.

    Example: launch/pretrain.sh configs/pretrain/tiny.yaml --out build/run --set data.path=build/data
    """
    from pipeline.core.config import load
    from pipeline.train.config import PretrainConfig
    from pipeline.train.run import pretrain as run

    run(load(PretrainConfig, config, settings), out)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a run folder: its newest one")],
    out: Annotated[Path, typer.Argument(help="Folder to write")],
    form: Annotated[str, typer.Option("--format", help="hf: safetensors that transformers loads")] = "hf",
    dtype: Annotated[str, typer.Option(help="float32: as trained; bfloat16 or float16: rounded")] = "float32",
    data: Annotated[Path | None, typer.Option(help="The prepare folder, if it was moved since training")] = None,
) -> None:
    """A checkpoint as a Hugging Face folder; refused unless its logits equal the engine's with the same weights.

    Weights rounded to --dtype are compared with weights rounded alike; how far the rounding moves the logits is said.

    Example: penstock export build/run build/model
    """
    from pipeline.export.huggingface import export as write

    write(checkpoint, out, format=form, dtype=dtype, data=data)


@app.command()
def finetune(config: ConfigFile, out: Out, settings: Settings = []) -> None:  # noqa: B006
    """Train a task model from an exported one: full or LoRA, with early stopping.

    Example: penstock finetune --config configs/finetune/topics.yaml --set model=build/model
    --set data=build/sample/finetune/topics.jsonl --out build/topics
    """
    from pipeline.core.config import load
    from pipeline.finetune.run import FinetuneConfig
    from pipeline.finetune.run import finetune as run

    run(load(FinetuneConfig, config, settings), out)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="An exported or fine-tuned model folder")],
    out: Out,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated: perplexity, classification")] = None,
    data: Annotated[Path | None, typer.Option(help="prepare folder or text; JSONL for classification")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file, e.g. configs/evaluate/perplexity.yaml")] = None,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Perplexity of a model; accuracy, F1 and classification report of a classifier, against the majority.

    Example: penstock evaluate build/model --tasks perplexity --data build/data --out build/scores
    """
    from pipeline.core.config import load
    from pipeline.evaluate import run as stage

    said = [f"tasks=[{tasks}]"] if tasks is not None else []
    chosen = load(stage.EvaluateConfig, config, [*said, *settings])
    results = stage.evaluate(model, chosen.tasks, out, data or chosen.data)
    if as_json:
        _print_json(results)
    else:
        stage.print_results(results)


@app.command()
def generate(
    model: Annotated[Path, typer.Argument(help="An exported model folder")],
    prompt: Annotated[str, typer.Option(help="Text to continue")],
    max_new_tokens: int = 64,
    temperature: Annotated[float, typer.Option(help="0: greedy")] = 0.0,
    top_k: Annotated[int, typer.Option(help="0: all")] = 0,
    top_p: float = 1.0,
    seed: Annotated[int, typer.Option(help="0 to 2^32 - 1: the same seed draws the same text")] = 0,
) -> None:
    """Continue a prompt; text appears as it is made.

    Example: penstock generate build/model --prompt "The function returns" --temperature 0.8 --top-p 0.95
    """
    from pipeline.model.generate import generate as run

    sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    run(model, prompt, max_new_tokens=max_new_tokens, on_text=partial(typer.echo, nl=False), **sampling)
    typer.echo()


@app.command()
def verify(
    folder: Annotated[
        str, typer.Argument(help="A prepare folder or a stage, or its URL; a run, a checkpoint or a model")
    ],
) -> None:
    """Check every byte of an artifact against its manifest.

    A stage with a damaged file is made again, byte for byte, once its folder is deleted; a checkpoint is passed over.

    Example: penstock verify build/data
    """
    from pipeline.core import pull as far
    from pipeline.core.storage import is_url
    from pipeline.verify import verify as check

    bad, num_files = far.verify(folder) if is_url(folder) else check(Path(folder))
    if bad:
        raise ArtifactError("\n".join(bad))
    typer.echo(f"{folder}: {num_files} files, all as written")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="Of a finished prepare, or of one of its stages")],
    folder: Annotated[Path, typer.Argument(help="Folder to write")],
) -> None:
    """Bring the output of a prepare here from a bucket: every file checked, the manifest last. A folder that holds
    another run, or an earlier one of that URL, is refused.

    Example: penstock pull s3://bucket/run build/pulled
    """
    from pipeline.core.pull import pull as run

    typer.echo(f"{folder}: {run(url, folder)} files, all as written")


@app.command()
def explain(
    kind: Annotated[str, typer.Argument(help="doc")],
    name: Annotated[str, typer.Argument(help="A document's id (8 hex digits of it or more), title, URL or file")],
    data: Annotated[Path, typer.Option(parser=_here, metavar="DIR", help="A prepare folder, or one stage of it")],
    as_json: AsJson = False,
) -> None:
    """The life of a document: where it lies, each stage's verdict and reason, what was edited, what survived it.

    Example: penstock explain doc 001-the-engineer-s-reader-volume-1.txt --data build/data
    """
    from dataclasses import asdict

    from pipeline.report import document

    if kind != "doc":
        raise UserError(f"explain {kind}: this version explains doc")
    lives = document.explain(data, name)
    if as_json:
        _print_json([asdict(life) for life in lives])
    else:
        document.show(lives)


@ledger.command("summary")
def ledger_summary(
    data: Data,
    html: Annotated[Path | None, typer.Option(help="Also draw it: one HTML file to write")] = None,
    as_json: AsJson = False,
) -> None:
    """Per source: documents and bytes in, what each rule dropped, in stage order, what is kept.

    Example: penstock ledger summary build/data --html build/ledger.html
    """
    from dataclasses import asdict

    from pipeline.report import page, waterfall

    summary = waterfall.summarise(data)
    if html is not None:
        page.write(summary, html)
    if as_json:
        _print_json(asdict(summary))
    else:
        waterfall.show(summary)


@ledger.command("sample")
def ledger_sample(
    data: Data,
    reason: Annotated[str, typer.Option(help="A reason of the ledger, e.g. gopher_short, near_duplicate, pii")],
    source: Annotated[str | None, typer.Option(help="Of this source only")] = None,
    num: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed draws others")] = 0,
    as_json: AsJson = False,
) -> None:
    """Random documents that a rule drops or edits, as they were before, with kept text beside them.

    Example: penstock ledger sample build/data --reason gopher_short --num 3
    """
    from dataclasses import asdict

    from pipeline.report import examples

    drawn = examples.draw(data, reason, source, num, seed)
    if as_json:
        _print_json([asdict(example) for example in drawn])
    else:
        examples.show(drawn)


@recipe.command("list")
def recipe_list(as_json: AsJson = False) -> None:
    """The recipes that are shipped: what each is for, and whose it is.

    Example: penstock recipe list
    """
    from dataclasses import asdict

    from pipeline.clean import recipe as recipes

    found = [recipes.in_short(name) for name in recipes.names()]
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    recipes.show(found)


@recipe.command("show")
def recipe_show(
    name: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file with a `clean` section")],
    as_json: AsJson = False,
) -> None:
    """Every filter of a recipe with all of its thresholds.

    Example: penstock recipe show fineweb
    """
    from pipeline.clean import recipe as recipes

    chosen = recipes.read(name)
    if as_json:
        _print_json(chosen.model_dump(mode="json"))
        return
    typer.echo(f"recipe {chosen.recipe or name}, pin {chosen.pin or 'none'}")
    for section in chosen.filters:
        settings = section.model_dump(mode="json", exclude={"name"})
        typer.echo(f"{section.name:<12} {', '.join(f'{key} {json.dumps(value)}' for key, value in settings.items())}")


@recipe.command("diff")
def recipe_diff(
    first: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file with a `clean` section")],
    second: Annotated[str, typer.Argument(help="Another one")],
    data: Annotated[Path, typer.Option(parser=_here, metavar="DIR", help="A prepare folder, or one of documents")],
    sample: Annotated[int, typer.Option(min=1, help="How many documents")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Which documents flip between two recipes, by the rule that drops them.

    Example: penstock recipe diff fineweb gopher --data build/data --sample 200
    """
    from pipeline.clean import compare, recipe

    found = compare.compare((first, second), (recipe.read(first), recipe.read(second)), data, sample)
    if as_json:
        _print_json(found.to_dict())
    else:
        compare.print_comparison(found)


@dedup.command("curve")
def dedup_curve(settings: Settings = [], as_json: AsJson = False) -> None:  # noqa: B006
    """With which probability two documents of a similarity are linked, for a choice of bands, rows and min_jaccard.

    Example: penstock dedup curve --set bands=20 --set rows=6 --set min_jaccard=0.6
    """
    from pipeline.core.config import load
    from pipeline.dedup.config import DedupConfig
    from pipeline.dedup.signatures import curve

    config = load(DedupConfig, None, settings)
    if as_json:
        _print_json(curve.table(config))
    else:
        curve.show(config)


@app.command()
def demo(
    out: Out,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove an earlier demo first")] = False,
) -> None:
    """The whole way on one machine: sample, prepare, pretrain, kill -9, resume, export, fine-tune, evaluate.

    Example: penstock demo --out build/demo
    """
    from pipeline.demo import run

    run(out, fresh=fresh)


app.add_typer(ledger, name="ledger")
app.add_typer(recipe, name="recipe")
app.add_typer(dedup, name="dedup")


def main() -> None:
    """Entry point: one line and the exit code for what we foresaw, a traceback for our bugs."""
    from pipeline.core.log import setup_logging

    # Threads that wait for each other sleep instead of spinning: on cores that something else uses too, spinning made
    # fine-tuning 5 to 40 times slower. OpenMP reads it when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    setup_logging()
    try:
        app()
    except PenstockError as error:
        _fail(str(error), error.exit_code)
    except (OSError, ImportError) as error:
        mistake = storage_error(error) if isinstance(error, OSError) else missing_package(error, "the command")
        if mistake is None:
            raise
        _fail(str(mistake), mistake.exit_code)
    except SystemExit as ended:
        if ended.code == 130:  # typer's answer to Ctrl-C
            _fail("interrupted; what is done stays: run the same command again to go on", 130)
        raise


def _fail(message: str, exit_code: int) -> None:
    from pipeline.core.log import printable

    for line in message.splitlines():
        print(f"penstock: {printable(line)}", file=sys.stderr)
    sys.exit(exit_code)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, default=str))
