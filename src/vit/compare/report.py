"""report.md: the answer, one table, one picture; then everything that a reviewer asks for."""

from pathlib import Path

from vit.compare import tables
from vit.compare.conclusion import Conclusion
from vit.compare.curves import draw
from vit.compare.details import Details
from vit.compare.findings import Findings
from vit.compare.ledger import ledger
from vit.compare.tables import aligned, markdown
from vit.whole_files import write_text


class Report:
    """The page of a study.

    Args:
        findings: figures and what follows from them.
        details: how they came about, in lines.
    """

    def __init__(self, findings: Findings, details: Details) -> None:
        self.findings = findings
        self.details = details
        self.conclusion = Conclusion(findings)

    def top(self) -> list[str]:
        """The answer and what surrounds it, in sentences."""
        first, *rest = self.conclusion.sentences()
        return [first, *self.details.first(), *rest]

    def page(self, pictures: list[str]) -> str:
        """The whole page in Markdown, pictures by their names."""
        findings, study = self.findings, self.findings.study
        data, protocol, _ = findings.primary
        first, *rest = self.top()
        forest = [name for name in pictures if name.startswith("forest")]
        parts = [
            f"# {study.question}",
            f"**{first}**",
            bullets(rest),
            f"Accuracy on the test split of {data}, {protocol}:",
            markdown(tables.headline(findings)),
            *(image(name) for name in forest),
        ]
        for title, body in self.sections([name for name in pictures if name not in forest]):
            parts += [f"## {title}", body] if body else []
        parts += ["Scope: this data, this size; not other data sets."]
        return "\n\n".join(part for part in parts if part) + "\n"

    def sections(self, pictures: list[str]) -> list[tuple[str, str]]:
        """Everything below the answer: titles and Markdown, empty where there is nothing."""
        findings, details = self.findings, self.details
        suite = markdown(tables.suite_means(findings))
        note = "all: the plain mean, as VTAB; groups: the mean of the groups' means."
        curves = [*map(image, pictures), bullets(self.conclusion.about_crossings())]
        return [
            ("Differences", together(markdown(tables.pairs(findings)), details.on_differences())),
            ("Other declared endpoints", markdown(tables.endpoints(findings))),
            ("What limits it", bullets(self.conclusion.about_noise())),
            ("Along each axis, and against cost", together(*curves)),
            *(
                (name, markdown(tables.by_protocol(findings, name)))
                for name in findings.study.transfer
            ),
            (
                f"Means over {len(findings.study.transfer)} tasks of VTAB-1k",
                together(suite, suite and note),
            ),
            ("Published claims, on this data", markdown(tables.claims(findings))),
            ("Validity, on validation", bullets(details.validity())),
            ("How it was made fair", bullets(details.fairness())),
            ("What was learned from", bullets(details.data())),
            ("Not paid here", markdown(ledger(findings, details.dry_runs))),
            ("Ranks by protocol", markdown(tables.ranks(findings))),
            ("Notes on the runs", bullets(details.runs())),
        ]

    def printed(self) -> str:
        """The answer and its table for a terminal."""
        first, *rest = self.top()
        lines = [
            first,
            *(f"- {line}" for line in rest),
            "",
            aligned(tables.headline(self.findings)),
        ]
        return "\n".join(lines)


def write_report(report: Report, folder: Path) -> None:
    """Write results.csv, the pictures and report.md, and print the answer."""
    report.findings.results.write(folder / "results.csv")
    pictures = draw(report.findings, folder)
    write_text(folder / "report.md", report.page(pictures))
    print(f"\n{report.printed()}\n\nreport: {folder / 'report.md'}")


def image(name: str) -> str:
    """A picture in Markdown."""
    return f"![{Path(name).stem.replace('_', ' ')}]({name})"


def together(*parts: str) -> str:
    """Paragraphs, the empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def bullets(lines: list[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)
