"""The tour that `make demo` gives: three few-shot tasks on the embedded default model, and what to try next."""

import time
from pathlib import Path

import handful
from handful.task.inputs import values_of
from handful.task.render import prompt

HERE = Path(__file__).parent

TOUR = (
    (
        "sentiment.yaml",
        "two labels, scored without decoding",
        ("What a joy, I would see it again tomorrow.", "I left before the end."),
    ),
    ("translation.yaml", "English to French", ("Where is the railway station?", "I like bread.")),
    ("extraction.yaml", "free text that ends at its end sequence", ("Send me 5 pots of honey on Thursday, please.",)),
)

NEXT = """Try next:
  {bin}handful run examples/sentiment.yaml "Your own review here."
  {bin}handful run examples/topic.yaml --input examples/headlines.csv --json
  {bin}handful prompt examples/sentiment.yaml "Your own review here."     (what the model is shown)
  {bin}handful serve                                                      (the same over HTTP; also: make serve)
and write a task of your own: examples/README.md says how."""


def main() -> None:
    """Load the model, run the tour, say what to try next."""
    start = time.perf_counter()
    model = handful.load("default")
    info = model.info
    print(
        f"{info.source}: {info.num_parameters / 1e6:.0f}M parameters, {info.precision} on {info.device}, "
        f"loaded in {time.perf_counter() - start:.1f} s"
    )
    for file, what, texts in TOUR:
        task = handful.Task.load(HERE / file)
        print(f"\n=== {task.name}: {what} ===")
        print(f"{len(task.examples)} examples; the end of the prompt:")
        print("\n".join(f"  | {line}" for line in prompt(task, values_of(task, texts[0])).splitlines()[-4:]))
        start = time.perf_counter()
        predictions = task.predict(model, texts)
        seconds = time.perf_counter() - start
        for prediction in predictions:
            print(f"\n  {prediction.input}\n  -> {prediction.prediction}")
            if prediction.probabilities is not None:
                shown = ", ".join(f"{label} {value:.0%}" for label, value in prediction.probabilities.items())
                print(f"     {shown}")
        print(f"\n  {seconds * 1000 / len(texts):.0f} ms each, {predictions[-1].num_prompt_tokens} prompt tokens")
    model.close()
    command = ".venv/bin/" if (Path.cwd() / ".venv" / "bin" / "handful").exists() else ""
    print("\n" + NEXT.format(bin=command))


if __name__ == "__main__":
    main()
